"""Rotary positions on three axes (time, height, width), as the Qwen-VL families have them."""

from __future__ import annotations

import torch


def in_line(start: int, count: int) -> torch.Tensor:
    """Positions `[3, count]` of text, and of memory: start, start + 1, .. on every axis alike."""
    return torch.arange(start, start + count).expand(3, -1)


def in_grid(start: int, steps: int, rows: int, columns: int, interval: float = 1.0) -> torch.Tensor:
    """Positions `[3, steps * rows * columns]` of visual tokens, from `start` on every axis.

    Step t lies at `floor(t * interval)` on the axis of time.
    """
    time = (torch.arange(steps) * interval).long()
    axes = torch.meshgrid(time, torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack(axes).reshape(3, -1) + start


def after(positions: torch.Tensor) -> int:
    """Where text goes on behind positions `[3, n]`: one past the largest of any axis."""
    return int(positions.max()) + 1
