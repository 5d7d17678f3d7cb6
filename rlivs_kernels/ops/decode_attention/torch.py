"""Scoring decode attention in plain torch, a bounded tile of keys at a time. The default on a CPU."""

import torch
from torch import Tensor

from rlivs_kernels.ops.paging import number_of_keys, rows_of

KEY_TILE_BYTES = 4 * 2**20


def limit(query: Tensor, key: Tensor, **options: object) -> str | None:
    """Serves every valid call."""
    return None


def decode_attention_torch(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    key_lengths: Tensor,
    key_start: Tensor | None,
    column_start: Tensor | None,
    num_columns: int,
    column_sums: Tensor | None,
    block_table: Tensor | None,
    scale: float,
    softcap: float | None,
    sliding_window: int | None,
) -> tuple[Tensor, Tensor]:
    """Out [B, Hq, 1, D] in the inputs' dtype and lse [B, Hq]; adds to column_sums in place.

    Waits for the device once, to read the lengths: keys beyond them are not touched.
    """
    batch, num_heads, _, head_dim = query.shape
    num_kv_heads, num_keys = key.shape[1], number_of_keys(key, block_table)
    group_size = num_heads // num_kv_heads
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    out = torch.zeros(batch, num_heads, 1, head_dim, dtype=query.dtype, device=query.device)
    lse = torch.full((batch, num_heads), -torch.inf, dtype=dtype, device=query.device)
    starts = [0] * batch if key_start is None else key_start.tolist()
    columns = [0] * batch if column_start is None else column_start.tolist()

    for b, length in enumerate(key_lengths.tolist()):
        low, high = max(0, starts[b]), min(num_keys, length)
        if sliding_window is not None:
            low = max(low, length - sliding_window)
        if low >= high:
            continue
        rows = (query[b, :, 0].to(dtype) * scale).view(num_kv_heads, group_size, head_dim)
        scores = torch.empty(num_kv_heads, group_size, high - low, dtype=dtype, device=query.device)
        step = high - low
        if key.dtype != dtype or block_table is not None:
            step = max(1, KEY_TILE_BYTES // (num_kv_heads * head_dim * dtype.itemsize))
        for start in range(low, high, step):
            tile = slice(start, min(high, start + step))
            keys = rows_of(key, block_table, b, tile.start, tile.stop).to(dtype).transpose(1, 2)
            scores[..., tile.start - low : tile.stop - low] = torch.bmm(rows, keys)
        if softcap is not None:
            scores.div_(softcap).tanh_().mul_(softcap)
        row_lse = torch.logsumexp(scores, -1, keepdim=True)
        weights = scores.sub_(row_lse).exp_()
        mixed = torch.zeros_like(rows)
        for start in range(low, high, step):
            tile = slice(start, min(high, start + step))
            values = rows_of(value, block_table, b, tile.start, tile.stop).to(dtype)
            mixed.baddbmm_(weights[..., tile.start - low : tile.stop - low], values)
        out[b, :, 0] = mixed.view(num_heads, head_dim)
        lse[b] = row_lse.view(num_heads)
        if column_sums is not None:
            first, last = max(low, columns[b]), min(high, columns[b] + num_columns)
            if first < last:
                seen = weights[..., first - low : last - low].sum((0, 1))
                column_sums[b, first - columns[b] : last - columns[b]] += seen.to(column_sums.dtype)
    return out, lse
