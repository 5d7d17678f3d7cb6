"""The mean attention of chosen rows over columns, across layers wherever they live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

import rlivs_kernels
from rlivs.scoring.recorder import LayerRecorder


@dataclass(frozen=True)
class Columns:
    """`num_columns` from `starts[b]` on, one start for all batch rows or one each, of keys from `key_starts[b]` on."""

    starts: Sequence[int]
    num_columns: int
    key_starts: torch.Tensor | None


def mean_attention(
    recorders: Sequence[LayerRecorder], columns: Columns, first_row: int, counted: torch.Tensor, device: torch.device
) -> torch.Tensor:
    """`a_j = 1/L sum_l 1/H sum_h 1/N sum_i A[l,h,i,j]`, float32 `[B, num_columns]` on `device`.

    The rows i are those of `counted` `[B, T]` (bool), row t at position first_row + t. A batch row without a counted
    row gets zeros.
    """
    groups: dict[object, list[LayerRecorder]] = {}
    for recorder in recorders:
        assert recorder.key is not None
        same = (recorder.key.device, recorder.key.shape, recorder.scale, recorder.softcap)
        groups.setdefault(same, []).append(recorder)
    total = torch.zeros(counted.shape[0], columns.num_columns, dtype=torch.float32, device=device)
    for group in groups.values():
        sums = _group_sums(group, columns, first_row, counted)
        total += (sums / group[0].stash.num_heads).to(device, torch.float32)
    rows = counted.sum(1, keepdim=True).clamp(min=1).to(device)
    return total / (len(recorders) * rows)


def _group_sums(
    group: Sequence[LayerRecorder], columns: Columns, first_row: int, counted: torch.Tensor
) -> torch.Tensor:
    """`[B, n]`: attention summed over layers, heads and counted rows, from the steps' own sums where these will do."""
    steps = [step for step in (recorder.step_sums(first_row) for recorder in group) if step is not None]
    if len(steps) < len(group):
        return _row_sums(group, columns, first_row, counted)
    marked = steps[0][1]
    padding = (0, len(marked) - counted.shape[1])
    counted = torch.nn.functional.pad(counted, padding).to(marked.device)
    # Steps go on after a caption has ended, for others in its batch: its sums hold too much, its rows are all there.
    exact = ~(marked & ~counted).any(1, keepdim=True)
    total = torch.where(exact, torch.stack([sums for sums, _ in steps]).sum(0), 0)
    left = counted & ~(exact & marked)
    used = left.any(0).nonzero()
    if len(used) == 0:
        return total
    low, high = int(used[0]), int(used[-1]) + 1
    return total + _row_sums(group, columns, first_row + low, left[:, low:high])


def _row_sums(group: Sequence[LayerRecorder], columns: Columns, first_row: int, counted: torch.Tensor) -> torch.Tensor:
    """Float32 `[B, n]`: the kept rows' attention, summed over layers, heads and counted rows."""
    keys = [recorder.key for recorder in group if recorder.key is not None]
    device = keys[0].device
    column_range: tuple[int | torch.Tensor, int]
    if len(columns.starts) == 1:
        column_range = (columns.starts[0], columns.starts[0] + columns.num_columns)
    else:
        column_range = (torch.tensor(columns.starts, device=device), columns.num_columns)
    return rlivs_kernels.attention_column_sums(
        [recorder.stash.rows(first_row, first_row + counted.shape[1]) for recorder in group],
        keys,
        column_range=column_range,
        query_start=first_row,
        key_start=None if columns.key_starts is None else columns.key_starts.to(device),
        row_mask=None if bool(counted.all()) else counted.to(device),
        scale=group[0].scale,
        softcap=group[0].softcap,
        reduction="sum",
    )
