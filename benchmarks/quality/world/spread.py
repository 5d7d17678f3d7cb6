"""Columns spread evenly over a clip."""

from __future__ import annotations

import torch
from torch import Tensor

CELLS = 16  # visual tokens of a frame


def uniform_columns(count: int, total: int, turn: int = 0) -> Tensor:
    """Columns `[count]` int64 spread evenly over the clip's `total`, ascending.

    A stride that divides a frame's 16 tokens would show the same corner of every frame: each further token is taken
    five cells on in its frame, so that all cells get their turn. `turn` moves all of them on by as many cells.
    """
    if count == total:
        return torch.arange(total)
    step = torch.arange(count)
    evenly = step * total // count + total // (2 * count)
    columns = evenly // CELLS * CELLS + (evenly + 5 * step + turn) % CELLS
    free = torch.ones(total, dtype=torch.bool)
    chosen = []
    for column in columns.tolist():  # where two meet, the later one takes the next free column
        while not free[column]:
            column = (column + 1) % total
        free[column] = False
        chosen.append(column)
    return torch.tensor(sorted(chosen))
