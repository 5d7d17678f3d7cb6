"""The definition of scoring decode attention, dense and short. Tests and benchmarks compare with it."""

import torch
from torch import Tensor

from rlivs_kernels.ops.arguments import ColumnRange, PerBatchRow, column_starts, per_batch_row
from rlivs_kernels.ops.column_sums.reference import attention_logits, log_sum_exp
from rlivs_kernels.ops.paging import gathered


def limit(query: Tensor, key: Tensor, **options: object) -> str | None:
    """Serves every valid call."""
    return None


def decode_attention_reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    key_lengths: PerBatchRow,
    key_start: PerBatchRow | None = None,
    column_range: ColumnRange | None = None,
    column_sums: Tensor | None = None,
    block_table: Tensor | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """As `rlivs_kernels.decode_attention`, computed in `dtype`: by default float64 for float64 inputs, float32
    otherwise. Returns out and lse in `dtype`."""
    key, value = gathered(key, block_table), gathered(value, block_table)
    batch, _, _, head_dim = query.shape
    num_keys, device = key.shape[2], query.device
    dtype = dtype or (torch.float64 if query.dtype == torch.float64 else torch.float32)
    scale = head_dim**-0.5 if scale is None else scale

    index = torch.arange(num_keys, device=device)
    lengths = per_batch_row(key_lengths, "key_lengths", batch, device)[:, None]
    visible = index < lengths
    if key_start is not None:
        visible = visible & (index >= per_batch_row(key_start, "key_start", batch, device)[:, None])
    if sliding_window is not None:
        visible = visible & (index >= lengths.long() - sliding_window)
    visible = visible[:, None, None]
    logits = attention_logits(query.to(dtype), key.to(dtype), scale, softcap).masked_fill(~visible, -torch.inf)
    lse = log_sum_exp(logits)
    weights = torch.where(visible, (logits - lse[..., None]).exp(), 0.0)  # [B, Hq, 1, S]
    group_size = query.shape[1] // key.shape[1]
    values = torch.where(visible.transpose(2, 3), value.to(dtype), 0.0)
    out = weights @ values.repeat_interleave(group_size, dim=1)

    if column_sums is not None:
        num_columns = column_sums.shape[1]
        starts, _ = column_starts(column_range or (0, num_columns), batch, num_keys, device)
        column = starts[:, None] + torch.arange(num_columns, device=device)
        is_key = (column >= 0) & (column < num_keys)
        sums = weights.sum((1, 2)).gather(1, column.clamp(0, num_keys - 1).long())
        column_sums += torch.where(is_key, sums, 0.0).to(column_sums.dtype)
    return out, lse.squeeze(2)
