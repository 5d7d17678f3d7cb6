"""Scoring decode attention, every backend held to the same properties."""

from functools import partial

import kernel_checks
import pytest
import torch

from rlivs_kernels import attention_column_sums, decode_attention


@pytest.mark.parametrize("check", kernel_checks.DECODE_CHECKS, ids=lambda check: check.__name__)
def test_property(check, target):
    backend, device, dtype = target
    check(partial(decode_attention, backend=backend), device, dtype)


@pytest.mark.parametrize(
    ("heads", "keys", "dim"),
    [((1, 1), 1, 64), ((4, 2), 37, 80), ((14, 2), 131, 128), ((8, 1), 65, 96), ((66, 2), 15, 256)],
)
def test_shapes(target, heads, keys, dim):
    backend, device, dtype = target
    kernel_checks.step_serves_group(partial(decode_attention, backend=backend), device, dtype, heads, keys, dim)


def test_steps_add_up_to_the_deferred_sums(target):
    """Scoring while decoding, and one pass over the rows afterwards, are the same thing."""
    backend, device, dtype = target
    queries, caches = kernel_checks.tensors(device, dtype, rows=3, keys=80, layers=2)
    double = dtype == torch.float64
    sums = torch.zeros(2, 50, dtype=torch.float64 if double else torch.float32, device=device)
    for row in range(3):
        decode_attention(
            queries[0][:, :, row : row + 1],
            caches[0],
            caches[1],
            key_lengths=71 + row,
            column_range=(10, 60),
            column_sums=sums,
            backend=backend,
        )
    deferred = attention_column_sums(
        queries[0], caches[0], column_range=(10, 60), query_start=70, reduction="sum", backend=backend
    )
    # Tensor cores add up the two operations' products in different orders.
    tolerance = 1e-5 if device == "cpu" else 2 * kernel_checks.TOLERANCES[dtype]
    torch.testing.assert_close(sums, deferred, rtol=tolerance, atol=1e-8)


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["triton", "cuda"])
def test_a_captured_step_follows_the_lengths(backend):
    query, key, value = kernel_checks.step_tensors("cuda", torch.float16)
    lengths, starts = kernel_checks.tensor([100, 100], "cuda"), kernel_checks.tensor([5, 9], "cuda")
    sums = torch.zeros(2, 60, device="cuda")

    def step():
        return decode_attention(
            query, key, value, key_lengths=lengths, column_range=(starts, 60), column_sums=sums, backend=backend
        )

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out, lse = step()
    for length in (3, 64, 149):
        lengths.fill_(length)
        sums.zero_()
        graph.replay()
        replayed = out.clone(), lse.clone(), sums.clone()
        sums.zero_()
        expected = (*step(), sums)
        assert all(torch.equal(a, b) for a, b in zip(replayed, expected, strict=True))
