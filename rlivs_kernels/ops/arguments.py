"""Turns the int-or-tensor arguments of the public functions into int32 tensors, one entry a batch row."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

PerBatchRow = int | Sequence[int] | Tensor
ColumnRange = tuple[int, int] | tuple[PerBatchRow, int]

# Positions beyond it mean the same as it: so there is room in int32 to add a number of rows or columns.
FARTHEST = 2**30


def per_batch_row(value: PerBatchRow, name: str, batch: int, device: torch.device) -> Tensor:
    """Int32 tensor [B] on `device`; an int is the same for every batch row."""
    if isinstance(value, Tensor):
        if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
            raise ValueError(f"{name} must hold integers, got {value.dtype}; pass an int32 or int64 tensor")
        if value.dtype == torch.int64:  # what int32 cannot hold would come out as another number
            value = value.clamp(-FARTHEST, FARTHEST)
        if value.dim() == 0:
            return value.to(device=device, dtype=torch.int32).expand(batch).contiguous()
        if tuple(value.shape) != (batch,):
            raise ValueError(f"{name} has shape {list(value.shape)}; pass one entry a batch row, [{batch}]")
        return value.to(device=device, dtype=torch.int32).contiguous()
    if isinstance(value, Sequence):
        if len(value) != batch:
            raise ValueError(f"{name} has {len(value)} entries; pass one a batch row, {batch}")
        return torch.tensor([_position(each, name) for each in value], dtype=torch.int32, device=device)
    return torch.full((batch,), _position(value, name), dtype=torch.int32, device=device)


def _position(value: int, name: str) -> int:
    # No operator.index: of an int that torch.compile traces it would make a constant.
    if value is None or isinstance(value, (float, str)):
        raise ValueError(f"{name} must hold integers, got {value!r}; pass an int, or one a batch row")
    return max(-FARTHEST, min(value, FARTHEST))


def logit_scale(scale: float | None, head_dim: int) -> float:
    """The scale of the logits, default head_dim ** -0.5. Raises ValueError unless it is positive and finite."""
    if scale is None:
        return head_dim**-0.5
    if not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive and finite, got {scale}; pass None for D ** -0.5")
    return float(scale)


def check_softcap(softcap: float | None) -> None:
    """Raises ValueError for a softcap that is not positive and finite."""
    if softcap is not None and not 0 < softcap < math.inf:
        raise ValueError(f"softcap must be positive and finite, got {softcap}; pass None for no cap")


def window_length(sliding_window: int | None) -> int | None:
    """The window, as int32 holds it. Raises ValueError for one that holds no key."""
    if sliding_window is None:
        return None
    if sliding_window < 1:
        raise ValueError(f"sliding_window must be at least 1, got {sliding_window}; pass None for no window")
    return min(sliding_window, FARTHEST)


def column_starts(column_range: ColumnRange, batch: int, num_keys: int, device: torch.device) -> tuple[Tensor, int]:
    """`(start, stop)` or `(starts [B], length)` as (int32 starts [B], number of columns).

    Bounds held on the host are checked; those of a tensor are not (that would wait for the device): columns
    that are no key score 0.
    """
    pair = isinstance(column_range, Sequence) and len(column_range) == 2
    if not pair or any(isinstance(each, (float, str)) for each in column_range):
        raise ValueError(f"column_range is {column_range!r}; give (start, stop), or (starts [B], length)")
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
