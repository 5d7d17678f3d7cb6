"""Turns the int-or-tensor arguments of the public functions into int32 tensors, one entry a batch row."""

from collections.abc import Sequence

import torch
from torch import Tensor

PerBatchRow = int | Sequence[int] | Tensor
ColumnRange = tuple[int, int] | tuple[PerBatchRow, int]


def per_batch_row(value: PerBatchRow, name: str, batch: int, device: torch.device) -> Tensor:
    """Int32 tensor [B] on `device`; an int is the same for every batch row."""
    if isinstance(value, Tensor):
        if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
            raise ValueError(f"{name} must hold integers, got {value.dtype}; pass an int32 or int64 tensor")
        if value.dim() == 0:
            return value.to(device=device, dtype=torch.int32).expand(batch).contiguous()
        if tuple(value.shape) != (batch,):
            raise ValueError(f"{name} has shape {list(value.shape)}; pass one entry a batch row, [{batch}]")
        return value.to(device=device, dtype=torch.int32).contiguous()
    if isinstance(value, Sequence):
        if len(value) != batch:
            raise ValueError(f"{name} has {len(value)} entries; pass one a batch row, {batch}")
        return torch.tensor(list(value), dtype=torch.int32, device=device)
    return torch.full((batch,), value, dtype=torch.int32, device=device)


def column_starts(column_range: ColumnRange, batch: int, num_keys: int, device: torch.device) -> tuple[Tensor, int]:
    """`(start, stop)` or `(starts [B], length)` as (int32 starts [B], number of columns).

    Bounds held on the host are checked; those of a tensor are not (that would wait for the device): columns
    that are no key score 0.
    """
    first, second = column_range
    if isinstance(first, (Tensor, Sequence)):
        length = second
        if isinstance(first, Sequence) and any(s < 0 or s + length > num_keys for s in first):
            raise ValueError(
                f"column_range starts {list(first)} with length {length} leave the {num_keys} keys; "
                "give starts >= 0 with start + length <= number of keys"
            )
    else:
        length = second - first
        if first < 0 or second > num_keys:
            raise ValueError(
                f"column_range ({first}, {second}) leaves the {num_keys} keys; give 0 <= start < stop <= {num_keys}"
            )
    if length < 1:
        raise ValueError(f"column_range {column_range!r} holds no column; give start < stop, or a length >= 1")
    return per_batch_row(first, "column_range", batch, device), length
