"""Scoring decode attention, every backend held to the same properties."""

from functools import partial

import kernel_checks
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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


@st.composite
def steps(draw):
    """Any decode step that makes sense, on small shapes; and a block size, or None."""
    batch, keys = draw(st.integers(1, 3)), draw(st.integers(1, 40))
    kv_heads, group = draw(st.sampled_from([(1, 1), (2, 1), (1, 7), (2, 2), (1, 8)]))
    block_size = draw(st.none() | st.integers(1, 50))
    # A table has room for more keys than there are: a length must not count those.
    per_row = st.lists(st.integers(-3, keys if block_size else keys + 3), min_size=batch, max_size=batch)
    columns = draw(st.none() | st.tuples(per_row, st.integers(1, keys)))
    options = {
        "key_lengths": draw(per_row),
        "key_start": draw(st.none() | per_row),
        "softcap": draw(st.none() | st.floats(0.5, 30)),
        "sliding_window": draw(st.none() | st.integers(1, keys) | st.just(2**40)),
        "columns": None if columns is None else (torch.tensor(columns[0]), columns[1]),
    }
    shape = {"batch": batch, "heads": (kv_heads * group, kv_heads), "keys": keys, "dim": draw(st.integers(1, 20))}
    return shape, options, block_size


@settings(max_examples=150, deadline=None)
@given(steps())
def test_any_step_on_a_cpu(call):
    shape, options, block_size = call
    query, key, value = kernel_checks.step_tensors("cpu", torch.float32, **shape)
    op = partial(decode_attention, backend="torch")
    out, lse, sums = kernel_checks.compare_step(op, query, key, value, **options)
    if block_size is not None:
        (keys, values), table = kernel_checks.in_blocks([key, value], block_size)
        columns = options.pop("columns")
        paged = None if columns is None else torch.zeros_like(sums)
        found = op(query, keys, values, block_table=table, column_range=columns, column_sums=paged, **options)
        torch.testing.assert_close(found, (out, lse), rtol=1e-5, atol=1e-6)
        if columns is not None:
            torch.testing.assert_close(paged, sums, rtol=1e-5, atol=1e-9)


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
