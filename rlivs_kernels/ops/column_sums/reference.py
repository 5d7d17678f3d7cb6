"""The definition of attention column sums, dense and short. Tests and benchmarks compare with it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rlivs_kernels.ops.arguments import ColumnRange, PerBatchRow, column_starts, per_batch_row
from rlivs_kernels.ops.paging import gathered


def limit(query: Tensor, key: Tensor, **options: object) -> str | None:
    """Serves every valid call."""
    return None


def visible_keys(
    query_start: Tensor, key_start: Tensor | None, num_rows: int, num_keys: int, sliding_window: int | None = None
) -> Tensor:
    """Bool [B, T, S]: whether row t, at key index query_start[b] + t, attends key j."""
    key = torch.arange(num_keys, device=query_start.device)
    row = query_start[:, None, None] + torch.arange(num_rows, device=query_start.device)[:, None]
    visible = key <= row
    if key_start is not None:
        visible = visible & (key >= key_start[:, None, None])
    if sliding_window is not None:
        visible = visible & (key > row - sliding_window)
    return visible


def attention_logits(query: Tensor, key: Tensor, scale: float, softcap: float | None) -> Tensor:
    """[B, Hq, T, S] = scale * query . key, then softcap * tanh(logit / softcap)."""
    group_size = query.shape[1] // key.shape[1]
    logits = scale * query @ key.repeat_interleave(group_size, dim=1).transpose(2, 3)
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


def log_sum_exp(logits: Tensor) -> Tensor:
    """Natural log of the sum of exponentials over the last dimension; -inf where all is -inf, NaN at +inf."""
    highest = logits.amax(-1, keepdim=True).masked_fill_((logits == -torch.inf).all(-1, keepdim=True), 0.0)
    return (logits - highest).exp().sum(-1).log() + highest.squeeze(-1)


def attention_column_sums_reference(
    query: Tensor | Sequence[Tensor],
    key: Tensor | Sequence[Tensor],
    *,
    column_range: ColumnRange,
    query_start: PerBatchRow,
    key_start: PerBatchRow | None = None,
    lse: Tensor | Sequence[Tensor] | None = None,
    row_mask: Tensor | None = None,
    block_table: Tensor | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    reduction: str = "mean",
    per_head: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """As `rlivs_kernels.attention_column_sums`, computed in `dtype`: by default float64 for float64 inputs,
    float32 otherwise. Returns `dtype`."""
    queries = [query] if isinstance(query, Tensor) else list(query)
    keys = [gathered(each, block_table) for each in ([key] if isinstance(key, Tensor) else key)]
    given = [lse] if isinstance(lse, Tensor) else lse
    batch, num_heads, num_rows, head_dim = queries[0].shape
    num_keys, device = keys[0].shape[2], queries[0].device
    dtype = dtype or (torch.float64 if queries[0].dtype == torch.float64 else torch.float32)
    scale = head_dim**-0.5 if scale is None else scale

    starts, num_columns = column_starts(column_range, batch, num_keys, device)
    first_row = per_batch_row(query_start, "query_start", batch, device)
    first_key = None if key_start is None else per_batch_row(key_start, "key_start", batch, device)
    visible = visible_keys(first_row, first_key, num_rows, num_keys, sliding_window)[:, None]
    counted = torch.ones(batch, num_rows, dtype=torch.bool, device=device) if row_mask is None else row_mask

    layers = []
    for layer, (q, k) in enumerate(zip(queries, keys, strict=True)):
        logits = attention_logits(q.to(dtype), k.to(dtype), scale, softcap).masked_fill(~visible, -torch.inf)
        normaliser = log_sum_exp(logits) if given is None else given[layer].to(dtype)
        weights = (logits - normaliser[..., None]).exp()
        layers.append(torch.where(visible & counted[:, None, :, None], weights, 0.0))
    weights = torch.stack(layers, dim=2)  # [B, Hq, L, T, S]

    column = starts[:, None] + torch.arange(num_columns, device=device)
    is_key = (column >= 0) & (column < num_keys)
    index = column.clamp(0, num_keys - 1).long()[:, None, None, None].expand(*weights.shape[:4], -1)
    weights = torch.where(is_key[:, None, None, None], weights.gather(4, index), 0.0)

    axes = (2, 3) if per_head else (1, 2, 3)
    if reduction == "max":
        return weights.amax(axes)
    sums = weights.sum(axes)
    if reduction == "sum":
        return sums
    terms = counted.sum(1).clamp(min=1) * len(queries) * (1 if per_head else num_heads)
    return sums / terms.view(-1, *[1] * (sums.dim() - 1))
