"""Triton grids as other packages lay them out, written from their descriptions: one query head at a time.

Neither packs the query heads that share a KV head, so a key tile is read once for each of them.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _head_lse(
    query, key, lse, query_head, query_row, key_head, key_row, num_rows, num_keys, first_row, scale,
    GROUP: tl.constexpr, DIM: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """lse [H, T] (log2) of one head's rows: grid (row tiles, H)."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    head = tl.program_id(1)
    dim = tl.arange(0, DIM)
    tile = tl.load(query + head * query_head + row[:, None] * query_row + dim[None, :], mask=row[:, None] < num_rows)
    highest = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    for start in range(0, num_keys, KEYS):
        column = start + tl.arange(0, KEYS)
        pointers = key + (head // GROUP).to(tl.int64) * key_head + column[None, :] * key_row + dim[:, None]
        logits = tl.dot(tile, tl.load(pointers, mask=column[None, :] < num_keys, other=0.0)) * scale
        logits = tl.where(column[None, :] <= first_row + row[:, None], logits, float("-inf"))
        higher = tl.maximum(highest, tl.max(logits, 1))
        total = total * tl.exp2(highest - higher) + tl.sum(tl.exp2(logits - higher[:, None]), 1)
        highest = higher
    tl.store(lse + head * num_rows + row, highest + tl.log2(total), mask=row < num_rows)


@triton.jit
def _head_columns(
    query, key, lse, sums, query_head, query_row, key_head, key_row, num_rows, num_columns, scale,
    GROUP: tl.constexpr, DIM: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """sums [H, N] of one head's column block over all its rows: grid (column blocks, H)."""
    column = tl.program_id(0) * KEYS + tl.arange(0, KEYS)
    head = tl.program_id(1)
    dim = tl.arange(0, DIM)
    pointers = key + (head // GROUP).to(tl.int64) * key_head + column[None, :] * key_row + dim[:, None]
    keys = tl.load(pointers, mask=column[None, :] < num_columns, other=0.0)
    total = tl.zeros([KEYS], tl.float32)
    for start in range(0, num_rows, ROWS):
        row = start + tl.arange(0, ROWS)
        inside = row < num_rows
        tile = tl.load(
            query + head * query_head + row[:, None] * query_row + dim[None, :], mask=inside[:, None], other=0.0
        )
        normaliser = tl.load(lse + head * num_rows + row, mask=inside, other=float("inf"))
        total += tl.sum(tl.exp2(tl.dot(tile, keys) * scale - normaliser[:, None]), 0)
    tl.store(sums + head * num_columns + column, total, mask=column < num_columns)


def per_head_column_sums(query: Tensor, key: Tensor, start: int, length: int, first_row: int) -> Tensor:
    """Sums over rows [B, Hq, N] by one launch a batch row and pass; key may have fewer heads than query."""
    batch, heads, rows, dim = query.shape
    keys = key.shape[2]
    group = heads // key.shape[1]
    scale = dim**-0.5 * 1.4426950408889634
    lse = query.new_empty((heads, rows), dtype=torch.float32)
    sums = query.new_empty((batch, heads, length), dtype=torch.float32)
    tiles = {"GROUP": group, "DIM": dim, "ROWS": 128, "KEYS": 64, "num_warps": 4 if dim <= 64 else 8, "num_stages": 2}
    for b in range(batch):
        q, k = query[b], key[b]
        strides = (q.stride(0), q.stride(1), k.stride(0), k.stride(1))
        _head_lse[(triton.cdiv(rows, 128), heads)](q, k, lse, *strides, rows, keys, first_row, scale, **tiles)
        columns = k[:, start : start + length]
        _head_columns[(triton.cdiv(length, 64), heads)](
            q, columns, lse, sums[b], *strides, rows, length, scale, **tiles
        )
    return sums
