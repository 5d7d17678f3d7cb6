"""Columns of a clip as cells of its frames' token grids, and the outlines of selected cells."""

from collections.abc import Iterable, Sequence

import numpy as np

Run = tuple[int, int, int, int]  # x0, y0, x1, y1 in cells


def selected_cells(selected: Sequence[int], num_frames: int, grid: tuple[int, int]) -> np.ndarray:
    """Bool `[num_frames, rows, cols]`, True at the selected columns."""
    rows, cols = grid
    cells = np.zeros(num_frames * rows * cols, dtype=bool)
    cells[list(selected)] = True
    return cells.reshape(num_frames, rows, cols)


def outline(cells: np.ndarray) -> list[Run]:
    """The borders between True and False (or outside) of `cells` `[rows, cols]`, as straight runs."""
    padded = np.pad(cells, 1)
    across = padded[1:, 1:-1] != padded[:-1, 1:-1]  # [rows + 1, cols]: the lines above and below cells
    down = padded[1:-1, 1:] != padded[1:-1, :-1]  # [rows, cols + 1]: the lines left and right of cells
    horizontal = [(x0, y, x1, y) for y, line in enumerate(across) for x0, x1 in _runs(line)]
    vertical = [(x, y0, x, y1) for x, line in enumerate(down.T) for y0, y1 in _runs(line)]
    return horizontal + vertical


def outline_path(cells: np.ndarray) -> str:
    """`outline` as SVG path data, one unit a cell."""
    return "".join(f"M{x0} {y0}" + (f"h{x1 - x0}" if y0 == y1 else f"v{y1 - y0}") for x0, y0, x1, y1 in outline(cells))


def surroundings_path(cells: np.ndarray) -> str:
    """What is not selected, as SVG path data to be filled with the even-odd rule."""
    rows, cols = cells.shape
    holes = [f"M{x0} {y}h{x1 - x0}v1h{x0 - x1}z" for y, line in enumerate(cells) for x0, x1 in _runs(line)]
    return f"M0 0h{cols}v{rows}h-{cols}z" + "".join(holes)


def _runs(line: np.ndarray) -> Iterable[tuple[int, int]]:
    """Half-open spans of True in a bool line."""
    steps = np.flatnonzero(np.diff(np.pad(line.astype(np.int8), 1)))
    return [(int(start), int(stop)) for start, stop in zip(steps[::2], steps[1::2], strict=True)]
