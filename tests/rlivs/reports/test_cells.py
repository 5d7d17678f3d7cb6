import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from rlivs.reports.cells import outline, outline_path, selected_cells, surroundings_path

grids = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=7))


def test_columns_run_over_frames_then_rows_then_cols():
    rows, cols = 3, 5
    cells = selected_cells([0, 4, 5, 14, 15, 44], 3, (rows, cols))
    assert [tuple(int(v) for v in place) for place in np.argwhere(cells)] == [
        (0, 0, 0),
        (0, 0, 4),
        (0, 1, 0),
        (0, 2, 4),
        (1, 0, 0),
        (2, 2, 4),
    ]


def test_neighbours_share_one_outline():
    cells = np.zeros((3, 4), bool)
    cells[1, 1:3] = True
    assert sorted(outline(cells)) == [(1, 1, 1, 2), (1, 1, 3, 1), (1, 2, 3, 2), (3, 1, 3, 2)]
    assert outline_path(cells) == "M1 1h2M1 2h2M1 1v1M3 1v1"


@settings(deadline=None)
@given(grids)
def test_the_outline_is_every_border_between_in_and_out(cells):
    rows, cols = cells.shape

    def inside(row, col):
        return 0 <= row < rows and 0 <= col < cols and bool(cells[row, col])

    expected = {
        (col, row, col + 1, row)
        for row in range(rows + 1)
        for col in range(cols)
        if inside(row, col) != inside(row - 1, col)
    } | {
        (col, row, col, row + 1)
        for row in range(rows)
        for col in range(cols + 1)
        if inside(row, col) != inside(row, col - 1)
    }
    drawn = []
    for x0, y0, x1, y1 in outline(cells):
        if y0 == y1:
            drawn += [(x, y0, x + 1, y0) for x in range(x0, x1)]
        else:
            drawn += [(x0, y, x0, y + 1) for y in range(y0, y1)]
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == expected


@settings(deadline=None)
@given(grids)
def test_the_surroundings_leave_holes_at_the_selected_cells(cells):
    rows, cols = cells.shape
    frame, *holes = re.findall(r"M[^M]+", surroundings_path(cells))
    assert frame == f"M0 0h{cols}v{rows}h-{cols}z"
    filled = np.ones((rows, cols), bool)
    for hole in holes:
        x, y, width, back = (int(v) for v in re.fullmatch(r"M(\d+) (\d+)h(\d+)v1h-(\d+)z", hole).groups())
        assert width == back
        filled[y, x : x + width] ^= True
    np.testing.assert_array_equal(filled, ~cells)


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.data())
def test_selected_cells_hold_exactly_the_selection(num_frames, rows, cols, data):
    selected = data.draw(st.sets(st.integers(0, num_frames * rows * cols - 1)))
    cells = selected_cells(sorted(selected), num_frames, (rows, cols))
    assert set(np.flatnonzero(cells.reshape(-1)).tolist()) == selected
