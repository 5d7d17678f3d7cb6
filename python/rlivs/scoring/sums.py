"""The mean attention of chosen rows over columns, across layers wherever they live."""

from __future__ import annotations

from collections.abc import Sequence

import torch

import rlivs_kernels
from rlivs.scoring.recorder import LayerRecorder


def mean_attention(
    recorders: Sequence[LayerRecorder],
    *,
    first_row: int,
    counted: torch.Tensor,
    starts: Sequence[int],
    num_columns: int,
    key_starts: torch.Tensor | None,
    device: torch.device,
) -> torch.Tensor:
    """`a_j = 1/L sum_l 1/H sum_h 1/N sum_i A[l,h,i,j]`, float32 `[B, num_columns]` on `device`.

    The rows i are those of `counted` `[B, T]` (bool), row t at position first_row + t; the columns of batch row b
    are positions starts[b] on (one start serves all). A batch row without a counted row gets zeros.
    """
    groups: dict[object, list[LayerRecorder]] = {}
    for recorder in recorders:
        assert recorder.key is not None
        same = (recorder.key.device, recorder.key.shape, recorder.scale, recorder.softcap)
        groups.setdefault(same, []).append(recorder)
    total = torch.zeros(counted.shape[0], num_columns, dtype=torch.float32, device=device)
    for group in groups.values():
        keys = [recorder.key for recorder in group]
        here = keys[0].device
        if len(starts) == 1:
            column_range = (starts[0], starts[0] + num_columns)
        else:
            column_range = (torch.tensor(starts, device=here), num_columns)
        means = rlivs_kernels.attention_column_sums(
            [recorder.stash.rows(first_row, first_row + counted.shape[1]) for recorder in group],
            keys,
            column_range=column_range,
            query_start=first_row,
            key_start=None if key_starts is None else key_starts.to(here),
            row_mask=None if bool(counted.all()) else counted.to(here),
            scale=group[0].scale,
            softcap=group[0].softcap,
        )
        total += means.to(device, torch.float32) * (len(group) / len(recorders))
    return total
