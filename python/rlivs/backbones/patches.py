"""Pixels cut into the patches of the Qwen vision towers, and the size of a frame that fits a budget of tokens."""

from __future__ import annotations

import math

import torch


def fit_grid(height: int, width: int, budget: int) -> tuple[int, int]:
    """(rows, columns) of at most `budget` square cells that are about as wide to high as a frame."""
    rows = max(1, round(math.sqrt(budget * height / width)))
    columns = max(1, round(math.sqrt(budget * width / height)))
    while rows * columns > budget:
        if rows > columns:
            rows -= 1
        else:
            columns -= 1
    return rows, columns


def cut_patches(
    pixels: torch.Tensor, patch: int, merge: int, together: int
) -> tuple[torch.Tensor, tuple[int, int, int]]:
    """Patches `[T * H * W, 3 * together * patch * patch]` of frames `[n, 3, height, width]`, and the grid (T, H, W).

    A patch covers `patch` x `patch` pixels of `together` frames in a row; the last frame is repeated to fill the last.
    Patches come in blocks of `merge` x `merge`, which the tower merges to one token; height and width must be
    multiples of `patch * merge`.
    """
    missing = -len(pixels) % together
    pixels = torch.cat([pixels, pixels[-1:].expand(missing, -1, -1, -1)])
    steps, rows, columns = len(pixels) // together, pixels.shape[2] // patch, pixels.shape[3] // patch
    split = pixels.reshape(steps, together, 3, rows // merge, merge, patch, columns // merge, merge, patch)
    # step, block row, block column, row and column in the block | channel, frame, pixel row, pixel column
    ordered = split.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return ordered.reshape(steps * rows * columns, -1), (steps, rows, columns)
