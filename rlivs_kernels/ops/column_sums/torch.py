"""Attention column sums in plain torch, a bounded tile of scores at a time. The default on a CPU."""

import torch
from torch import Tensor

from rlivs_kernels.ops.paging import number_of_keys, rows_of

SCORE_TILE_BYTES = 8 * 2**20
KEY_TILE_BYTES = 4 * 2**20


def limit(query: Tensor, key: Tensor, **options: object) -> str | None:
    """Serves every valid call."""
    return None


def attention_column_sums_torch(
    queries: list[Tensor],
    keys: list[Tensor],
    *,
    column_start: Tensor,
    num_columns: int,
    query_start: Tensor,
    key_start: Tensor | None,
    lse: list[Tensor] | None,
    row_mask: Tensor | None,
    block_table: Tensor | None,
    scale: float,
    softcap: float | None,
    sliding_window: int | None,
    reduction: str,
    per_head: bool,
) -> Tensor:
    """Fp32 (fp64 for fp64 inputs) [B, N], or [B, Hq, N] per head.

    A tile is some rows of one KV head's group against every key they see, so one matrix product gives both the
    normaliser and the columns. Waits for the device once, to read the ranges: keys that no row sees are skipped.
    """
    batch, num_heads, num_rows, _ = queries[0].shape
    num_kv_heads, num_keys = keys[0].shape[1], number_of_keys(keys[0], block_table)
    group_size = num_heads // num_kv_heads
    dtype = torch.float64 if queries[0].dtype == torch.float64 else torch.float32
    result = torch.zeros(batch, num_heads, num_columns, dtype=dtype, device=queries[0].device)
    first_keys = [0] * batch if key_start is None else key_start.tolist()
    counts = [num_rows] * batch

    for b, (first_column, first_row) in enumerate(zip(column_start.tolist(), query_start.tolist(), strict=True)):
        rows = torch.arange(num_rows, device=result.device)
        if row_mask is not None:
            rows = rows[row_mask[b]]
            counts[b] = len(rows)
            if counts[b] == 0:
                continue
        last_key = min(num_keys, first_row + num_rows)
        for layer, (query, key) in enumerate(zip(queries, keys, strict=True)):
            for tile in rows.split(max(1, SCORE_TILE_BYTES // (dtype.itemsize * group_size * max(1, last_key)))):
                low, high = max(0, first_keys[b]), min(last_key, first_row + int(tile[-1]) + 1)
                if sliding_window is not None:
                    low = max(low, first_row + int(tile[0]) - sliding_window + 1)
                columns = range(max(low, first_column), min(high, first_column + num_columns))
                if lse is not None:
                    low, high = columns.start, columns.stop
                if len(columns) == 0:
                    continue
                for h in range(num_kv_heads):
                    heads = slice(h * group_size, (h + 1) * group_size)
                    seen_keys = rows_of(key[:, h : h + 1], block_table, b, low, high)[0]
                    scores = _scores(query[b, heads, tile].to(dtype), seen_keys, scale, softcap)
                    _hide(scores, first_row + tile, low, sliding_window)
                    given = None if lse is None else lse[layer][b, heads, tile].to(dtype)
                    normaliser = _exponentiate(scores, given)
                    seen = scores[..., columns.start - low : columns.stop - low]
                    part = result[b, heads, columns.start - first_column : columns.stop - first_column]
                    if reduction == "max":
                        torch.maximum(part, (seen * normaliser[..., None]).amax(1), out=part)
                    else:
                        part += torch.bmm(normaliser[:, None], seen)[:, 0]

    if not per_head:
        result = result.amax(1) if reduction == "max" else result.sum(1)
    if reduction == "mean":
        terms = torch.tensor(counts, dtype=dtype, device=result.device).clamp_(min=1)
        terms *= len(queries) * (1 if per_head else num_heads)
        result /= terms.view(-1, *[1] * (result.dim() - 1))
    return result


def _scores(query: Tensor, key: Tensor, scale: float, softcap: float | None) -> Tensor:
    """Logits [G, T, S] of a group's rows [G, T, D] with one KV head's keys [S, D], in the rows' dtype."""
    group_size, num_rows, head_dim = query.shape
    num_keys = key.shape[0]
    packed = (query * scale).view(group_size * num_rows, head_dim)
    scores = torch.empty(group_size * num_rows, num_keys, dtype=query.dtype, device=query.device)
    step = num_keys if key.dtype == query.dtype else max(1, KEY_TILE_BYTES // (head_dim * query.dtype.itemsize))
    for start in range(0, num_keys, step):
        torch.mm(packed, key[start : start + step].to(query.dtype).T, out=scores[:, start : start + step])
    if softcap is not None:
        scores.div_(softcap).tanh_().mul_(softcap)
    return scores.view(group_size, num_rows, num_keys)


def _hide(scores: Tensor, rows: Tensor, low: int, sliding_window: int | None) -> None:
    """Sets the logits of keys that a row does not see to -inf, in place; `rows` are key indices, ascending."""
    high = low + scores.shape[-1]
    later = max(low, int(rows[0]) + 1)
    if later < high:
        key = torch.arange(later, high, device=scores.device)
        scores[..., later - low :].masked_fill_(key > rows[:, None], -torch.inf)
    if sliding_window is not None:
        earlier = min(high, int(rows[-1]) - sliding_window + 1)
        if earlier > low:
            key = torch.arange(low, earlier, device=scores.device)
            scores[..., : earlier - low].masked_fill_(key <= rows[:, None] - sliding_window, -torch.inf)


def _exponentiate(scores: Tensor, lse: Tensor | None) -> Tensor:
    """exp(scores - shift) in place; returns what to multiply each row [G, T] by to get probabilities."""
    if lse is not None:
        # A row that sees no key has lse -inf: exp(-inf - inf) is the 0 it must give.
        scores.sub_(lse.masked_fill(lse == -torch.inf, torch.inf)[..., None]).exp_()
        return torch.ones_like(lse)
    highest = scores.amax(-1, keepdim=True)
    scores.sub_(highest.masked_fill_(highest == -torch.inf, 0.0)).exp_()
    total = scores.sum(-1)
    return torch.where(total == 0, 0.0, 1 / total)
