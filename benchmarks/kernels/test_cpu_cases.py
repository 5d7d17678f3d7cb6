"""CPU times of the torch backend on small cases: `pytest benchmarks/kernels --benchmark-enable`."""

import pytest

from benchmarks.kernels import column_sum_providers, decode_providers
from benchmarks.kernels.checks import Checker
from benchmarks.kernels.shapes import small_cases

CASES = [
    pytest.param(case, name, providers, id=f"{operation}-{case.model.name}-{name}")
    for operation, providers in (
        ("column_sums", column_sum_providers.providers),
        ("decode_attention", decode_providers.providers),
    )
    for case in small_cases(operation)
    for name in (("ours (torch)", "eager softmax") if operation == "column_sums" else ("ours (torch)", "SDPA"))
]


@pytest.mark.parametrize(("case", "name", "providers"), CASES)
def test_cpu_case(benchmark, case, name, providers):
    data = column_sum_providers.inputs(case, "cpu")
    call = providers(case, data)[name]()
    checker = Checker(case, data)
    assert checker.wrong(name, call()) is None
    benchmark(call)
