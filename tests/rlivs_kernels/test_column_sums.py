"""Attention column sums, every backend held to the same properties."""

from functools import partial

import kernel_checks
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlivs_kernels import attention_column_sums
from rlivs_kernels.ops.column_sums import torch as torch_backend
from rlivs_kernels.triton_launch import Chip, observed


@pytest.mark.parametrize("check", kernel_checks.COLUMN_SUM_CHECKS, ids=lambda check: check.__name__)
def test_property(check, target):
    backend, device, dtype = target
    check(partial(attention_column_sums, backend=backend), device, dtype)


@pytest.mark.parametrize(
    ("heads", "rows", "keys", "dim"),
    [
        ((1, 1), 1, 1, 64),
        ((4, 2), 3, 37, 80),
        ((4, 1), 1, 65, 96),
        ((14, 2), 11, 131, 128),
        ((8, 1), 33, 64, 64),
        ((7, 1), 2, 15, 256),
    ],
)
def test_shapes(target, heads, rows, keys, dim):
    backend, device, dtype = target
    kernel_checks.serves_group(partial(attention_column_sums, backend=backend), device, dtype, heads, rows, keys, dim)


@pytest.mark.parametrize("dim", [48, 33])
def test_other_head_sizes_on_a_cpu(dim):
    op = partial(attention_column_sums, backend="torch")
    kernel_checks.serves_group(op, "cpu", torch.float32, (4, 2), 5, 50, dim)


@st.composite
def calls(draw):
    """Any call of the operation that makes sense, on small shapes."""
    batch, rows, keys = draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 40))
    kv_heads, group = draw(st.sampled_from([(1, 1), (2, 1), (1, 7), (2, 2), (1, 8)]))
    block_size = draw(st.none() | st.integers(1, 50))
    # A table has room for more keys than there are: rows must not see those.
    rows = rows if block_size is None else min(rows, keys)
    last_start = keys if block_size is None else keys - rows
    per_row = st.lists(st.integers(-3, last_start), min_size=batch, max_size=batch)
    shape = {
        "batch": batch,
        "heads": (kv_heads * group, kv_heads),
        "rows": rows,
        "keys": keys,
        "dim": draw(st.integers(1, 20)),
    }
    mask = draw(st.none() | st.lists(st.booleans(), min_size=batch * rows, max_size=batch * rows))
    options = {
        "column_range": (torch.tensor(draw(per_row)), draw(st.integers(1, keys))),
        "query_start": draw(per_row),
        "key_start": draw(st.none() | per_row),
        "row_mask": None if mask is None else torch.tensor(mask).view(batch, rows),
        "softcap": draw(st.none() | st.floats(0.5, 30)),
        "sliding_window": draw(st.none() | st.integers(1, keys)),
        "reduction": draw(st.sampled_from(["mean", "sum", "max"])),
        "per_head": draw(st.booleans()),
    }
    return {**shape, "layers": draw(st.integers(1, 2))}, options, block_size


@settings(max_examples=150, deadline=None)
@given(calls())
def test_any_call_on_a_cpu(call):
    shape, options, block_size = call
    query, key = kernel_checks.tensors("cpu", torch.float32, **shape)
    sums = kernel_checks.compare(partial(attention_column_sums, backend="torch"), query, key, **options)
    if block_size is not None:
        blocks, table = kernel_checks.in_blocks(key, block_size)
        paged = attention_column_sums(query, blocks, block_table=table, backend="torch", **options)
        torch.testing.assert_close(paged, sums, rtol=1e-5, atol=1e-9)


def test_four_layers_of_a_clip_take_four_launches():
    """A launch costs the host about 9 microseconds: layers share them."""
    chip = Chip((9, 0), 132, 227 * 1024)
    query = torch.empty(1, 28, 256, 128, dtype=torch.bfloat16)
    key = torch.empty(1, 4, 6430, 128, dtype=torch.bfloat16)
    ranges = {"column_range": (3038, 6174), "query_start": 6174, "backend": "triton"}
    launched = []
    with observed(chip, lambda kernel, *rest: launched.append(kernel.__name__)):
        attention_column_sums([query] * 4, [key] * 4, **ranges)
        assert launched == ["row_normalisers", "merge_normalisers", "column_sums", "reduce_parts"]
        launched.clear()
        attention_column_sums([query] * 4, [key] * 4, lse=[torch.zeros(1, 28, 256)] * 4, **ranges)
        assert launched == ["pack_normalisers", "column_sums", "reduce_parts"]


@pytest.mark.parametrize("check", [kernel_checks.softcap_and_window, kernel_checks.layers_are_averaged])
def test_the_torch_backend_in_many_small_tiles(monkeypatch, check):
    monkeypatch.setattr(torch_backend, "SCORE_TILE_BYTES", 4096)
    monkeypatch.setattr(torch_backend, "KEY_TILE_BYTES", 4096)
    check(partial(attention_column_sums, backend="torch"), "cpu", torch.float16)


def test_the_torch_backend_holds_one_tile(monkeypatch):
    """No tensor beyond the tile's bound, but for the result and a row's own scores."""
    limit, seen = 64 * 1024, []
    monkeypatch.setattr(torch_backend, "SCORE_TILE_BYTES", limit)
    scores = torch_backend._scores

    def observed(*arguments):
        tile = scores(*arguments)
        seen.append(tile.numel() * tile.element_size())
        return tile

    monkeypatch.setattr(torch_backend, "_scores", observed)
    query, key = kernel_checks.tensors("cpu", torch.float32, heads=(4, 2), rows=64, keys=600)
    attention_column_sums(query[0], key[0], column_range=(0, 500), query_start=530, backend="torch")
    assert len(seen) > 8 and max(seen) <= limit


def test_a_given_lse_skips_the_tiles_outside_the_range(monkeypatch):
    widths = []
    scores = torch_backend._scores

    def observed(query, key, *rest):
        widths.append(key.shape[0])
        return scores(query, key, *rest)

    monkeypatch.setattr(torch_backend, "_scores", observed)
    query, key = kernel_checks.tensors("cpu", torch.float32)
    lse = kernel_checks.natural_lse(query[0], key[0], kernel_checks.tensor([140, 140], "cpu"))
    attention_column_sums(query[0], key[0], column_range=(30, 50), query_start=140, lse=lse, backend="torch")
    assert set(widths) == {20}
