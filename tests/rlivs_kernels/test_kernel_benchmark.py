"""The kernel benchmark: its floors, its refusals, its CSV."""

import csv
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.kernels import column_sum_providers, decode_providers, run, shapes, timing, tune  # noqa: E402
from benchmarks.kernels.checks import Checker  # noqa: E402
from benchmarks.kernels.floors import PEAKS, work  # noqa: E402
from benchmarks.kernels.timing import quantiles  # noqa: E402
from rlivs_kernels.triton_launch import Chip, observed  # noqa: E402

CLIP = shapes.Case("column_sums", shapes.MODELS[0], 1, 6430, 256, 3136)
STEP = shapes.Case("decode_attention", shapes.MODELS[0], 1, 6430, 1, 3136)
TINY = shapes.Case("column_sums", shapes.Model("tiny", 2, 4, 2, 16, scored_layers=2), 2, 90, 5, 40, "float32")


def test_the_floors_of_one_clip_and_one_step():
    both, columns, step = work(CLIP), work(CLIP, given_lse=True), work(STEP)
    assert columns.flops == pytest.approx(23.0e9, rel=0.01) and columns.exponentials == pytest.approx(90e6, rel=0.01)
    assert 1e6 * columns.seconds(PEAKS["A100"]) == pytest.approx(74, rel=0.01)
    assert 1e6 * columns.seconds(PEAKS["H200"]) == pytest.approx(24, rel=0.02)
    assert 1e6 * both.seconds(PEAKS["A100"]) == pytest.approx(225, rel=0.01)
    assert 1e6 * both.seconds(PEAKS["H200"]) == pytest.approx(74, rel=0.01)
    assert step.bytes == pytest.approx(13.2e6, rel=0.01)
    assert 1e6 * step.seconds(PEAKS["H200"]) == pytest.approx(2.7, rel=0.02)


def test_every_case_leaves_room_for_its_rows():
    for operation in run.OPERATIONS:
        for case in [*shapes.cases(operation), *shapes.small_cases(operation)]:
            assert case.column_start >= 0 and case.columns >= 1
            assert case.column_start + case.columns + case.rows == case.keys


def test_quantiles_are_ordered():
    times = quantiles([float(i) for i in range(101)])
    assert (times.p20, times.p50, times.p80) == (20.0, 50.0, 80.0)


def test_the_runner_on_a_gpu(gpu, monkeypatch, tmp_path):
    """Called by the host and replayed as a graph. Kernels that a stand-in cannot run are refused, and cost no other."""
    tiny, names = shapes.Model("tiny", 1, 2, 1, 64), ("ours (cuda)", "ours (triton)")
    monkeypatch.setattr(run, "cases", lambda operation, quick: [shapes.Case(operation, tiny, 1, 40, 1, 20, "float16")])
    offered = set()
    for operation, real in run.PROVIDERS.items():

        def few(case, data, real=real):
            found = {name: build for name, build in real(case, data).items() if name in names}
            offered.update(found)
            return found

        monkeypatch.setitem(run.PROVIDERS, operation, few)
    monkeypatch.setattr(timing, "FLUSH_BYTES", 1024)
    monkeypatch.setattr(timing, "copy_bandwidth", lambda: 3e12)
    status = run.main(["--seconds", "0.01", "--out", str(tmp_path / "out.csv")])
    refused = gpu is not None and "ours (cuda)" in offered
    assert status == (1 if refused else 0) and "ours (triton)" in offered
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["operation"] for row in rows} == set(run.OPERATIONS)
    assert [row["launch"] for row in rows if row["provider"] == "ours (triton)"] == ["call", "graph"] * 2
    assert all(float(row["error"]) < 1e-3 and float(row["extra_memory_mib"]) >= 0 for row in rows)
    assert {row["device"] for row in rows} == {torch.cuda.get_device_name()}
    assert {row["copy_gb_per_s"] for row in rows} == {"3000.0"}


def test_the_runner_writes_rows_of_checked_providers(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(run, "small_cases", lambda operation: [TINY])
    status = run.main(["--operation", "column_sums", "--seconds", "0", "--out", str(tmp_path / "out.csv")])
    assert status == 0
    assert "no CUDA device" in capsys.readouterr().out
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["provider"] for row in rows} >= {"ours (torch)", "eager softmax"}
    assert all(float(row["p20_us"]) <= float(row["p50_us"]) <= float(row["p80_us"]) for row in rows)
    assert all(float(row["error"]) < 1e-4 and row["commit"] and row["device"] == "cpu" for row in rows)


def test_a_wrong_kernel_is_refused(monkeypatch, tmp_path, capsys):
    from rlivs_kernels.ops.column_sums import torch as torch_backend

    right = torch_backend.attention_column_sums_torch
    monkeypatch.setattr(torch_backend, "attention_column_sums_torch", lambda *a, **k: right(*a, **k) * 1.001)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(run, "small_cases", lambda operation: [TINY])
    status = run.main(["--operation", "column_sums", "--seconds", "0", "--out", str(tmp_path / "out.csv")])
    assert status == 1
    assert "refused: ours (torch): its error is 1.0e-03" in capsys.readouterr().out
    with (tmp_path / "out.csv").open() as file:
        assert "ours (torch)" not in {row["provider"] for row in csv.DictReader(file)}


def test_a_provider_that_fails_costs_only_its_own_rows(monkeypatch, tmp_path, capsys):
    from rlivs_kernels.ops.column_sums import torch as torch_backend

    class Odd(Exception):
        """Neither a RuntimeError, nor with a message: as Triton's and Dynamo's may be."""

    def fails(*arguments, **options):
        raise Odd

    monkeypatch.setattr(torch_backend, "attention_column_sums_torch", fails)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(run, "small_cases", lambda operation: [TINY])
    status = run.main(["--operation", "column_sums", "--seconds", "0", "--out", str(tmp_path / "out.csv")])
    assert status == 1
    assert "refused: ours (torch): Odd" in capsys.readouterr().out
    with (tmp_path / "out.csv").open() as file:
        assert "eager softmax" in {row["provider"] for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    "provider",
    [
        "eager softmax",
        "grid a query head (as FlagAttention)",
        "expanded copies (as keys_values)",
        "two-call flex_attention",
    ],
)
def test_peers_compute_the_same(monkeypatch, provider):
    """What is timed beside our kernels does the same work: in the interpreter, and flex_attention uncompiled."""
    from torch.nn.attention.flex_attention import flex_attention

    device = "cuda" if torch.cuda.is_available() else "cpu"
    case = shapes.Case("column_sums", shapes.Model("tiny", 2, 4, 2, 64, scored_layers=2), 1, 200, 16, 120, "float32")
    monkeypatch.setattr(column_sum_providers, "_compiled_flex", lambda: flex_attention)
    data = column_sum_providers.inputs(case, device)
    call = {
        "eager softmax": partial(column_sum_providers.eager_softmax, case, data),
        "grid a query head (as FlagAttention)": partial(column_sum_providers.per_head_grid, case, data, False),
        "expanded copies (as keys_values)": partial(column_sum_providers.per_head_grid, case, data, True),
        "two-call flex_attention": partial(column_sum_providers.two_call_flex, case, data),
    }[provider]()
    assert Checker(case, data).error(call()) < 1e-4


@pytest.mark.parametrize(("part", "said"), [(1, "its lse is off"), (2, "its column sums are off")])
def test_a_step_is_refused_for_sums_or_lse_alone(part, said):
    case = shapes.Case("decode_attention", shapes.Model("tiny", 2, 14, 2, 64), 2, 300, 1, 200)
    data = column_sum_providers.inputs(case, "cpu")
    checker, result = Checker(case, data), decode_providers.ours("torch", True, case, data)()
    assert checker.wrong("ours (torch), scoring", result) is None
    wrong = [each * 1.01 if index == part else each for index, each in enumerate(result)]
    assert checker.wrong("ours (torch), scoring", tuple(wrong)).startswith(said)


def test_flex_decoding_drops_the_padded_heads(monkeypatch):
    from torch.nn.attention.flex_attention import flex_attention

    groups = []

    def observed_flex(query, key, value, **options):
        groups.append(query.shape[1] // key.shape[1])
        return flex_attention(query, key, value, **options)

    monkeypatch.setattr(decode_providers, "_compiled_flex", lambda: observed_flex)
    case = shapes.Case("decode_attention", shapes.Model("tiny", 2, 14, 2, 64), 2, 100, 1, 60, "float32")
    data = column_sum_providers.inputs(case, "cpu")
    assert Checker(case, data).wrong("flex-decoding", decode_providers.flex_decoding(case, data)()) is None
    assert groups == [8]


def test_short_runs_time_the_largest_batch_of_steps_too():
    batches = {op: [case.batch for case in shapes.cases(op, quick=True)] for op in run.OPERATIONS}
    assert batches == {"column_sums": [1, 8] * 2, "decode_attention": [1, 8, 32] * 2}
    assert "7b" in shapes.cases("decode_attention", quick=True)[0].model.name


def test_steps_of_peers_compute_the_same():
    case = shapes.Case("decode_attention", shapes.Model("tiny", 2, 4, 2, 64), 2, 100, 1, 60, "float32")
    data = column_sum_providers.inputs(case, "cpu")
    checker = Checker(case, data)
    for name, build in decode_providers.providers(case, data).items():
        assert checker.error(build()()) < 1e-5, name


@pytest.mark.parametrize("table", tune.TABLES)
@pytest.mark.parametrize("model", shapes.MODELS, ids=lambda model: model.name)
def test_tiles_to_try_are_those_that_are_launched(table, model):
    operation = "decode_attention" if table == "decode" else "column_sums"
    case = shapes.Case(operation, model, 1, 600, 1 if table == "decode" else 9, 256)
    data = column_sum_providers.inputs(case, "cpu")
    call = tune.call_of(table, case, data)
    launched = []
    kernel = {"columns": "column_sums", "normalisers": "row_normalisers", "decode": "attend_split"}[table]
    with observed(Chip((9, 0), 132, 227 * 1024), lambda *given: launched.append(given)):
        key = tune.key_of(case)
        chosen = tune.TABLES[table][key]
        tried = tune.candidates(table, chosen)
        assert tried[0] == chosen and len(set(tried)) == len(tried) > 30
        for tiles in tried:
            launched.clear()
            with tune.using(table, key, tiles):
                call()
            ((constants, options, resident),) = [rest for k, _, *rest in launched if k.__name__ == kernel]
            assert constants["BLOCK_KEYS"] == tiles.keys
            assert (options["num_warps"], options["num_stages"]) == (tiles.warps, tiles.stages)
            assert options["maxnreg"] == tiles.registers and resident == tiles.resident
        assert tune.TABLES[table][key] == chosen


def test_peers_that_are_not_installed_are_named(monkeypatch):
    monkeypatch.setattr(decode_providers.importlib.util, "find_spec", lambda name: name == "flash_attn" or None)
    assert decode_providers.missing() == ["flashinfer: not installed, left out"]


def test_tiles_are_compared_on_a_gpu_only(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert tune.main([]) == 2
    assert capsys.readouterr().err == "no CUDA device: tiles can be compared on a GPU only\n"
