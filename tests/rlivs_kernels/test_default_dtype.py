"""Results do not depend on torch's default dtype, which loaders of models change for a while."""

from __future__ import annotations

import pytest
import torch

import rlivs_kernels as rk

GPU = [pytest.param(name, "cuda", marks=pytest.mark.gpu) for name in ("triton", "cuda")]


@pytest.fixture(params=[torch.bfloat16, torch.float64], ids=str)
def default_dtype(request):
    before = torch.get_default_dtype()
    yield lambda: torch.set_default_dtype(request.param)
    torch.set_default_dtype(before)


@pytest.mark.parametrize(("backend", "device"), [("torch", "cpu"), *GPU])
def test_results_are_those_of_the_usual_default(default_dtype, backend, device):
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(1, heads, 40, 64, generator=generator).half().to(device) for heads in (4, 2))
    lengths = torch.tensor([40], dtype=torch.int32, device=device)

    def results():
        sums = rk.attention_column_sums(query, key, column_range=(3, 30), query_start=0, backend=backend)
        step, lse = rk.decode_attention(query[:, :, -1:], key, key, key_lengths=lengths, backend=backend)
        return sums, step, lse

    expected = results()
    default_dtype()
    for found, wanted in zip(results(), expected, strict=True):
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted)
