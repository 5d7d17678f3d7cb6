import numpy as np
import pytest
from PIL import Image

from rlivs.errors import InputError
from rlivs.reports import heatmap_image
from rlivs.reports.colours import OUTLINE, colour_map, heat_layer
from rlivs.reports.heatmap import GAP, LABEL, MARGIN


def tile_places(across, width, height, count):
    """Top left corners of the frames on a sheet without a title."""
    return [
        (MARGIN + (index % across) * (width + GAP), MARGIN + (index // across) * (height + LABEL + GAP))
        for index in range(count)
    ]


@pytest.mark.parametrize(
    ("num_frames", "side", "grid", "across", "tile"),
    [(16, 384, (14, 14), 4, 320), (8, 64, (4, 4), 4, 192), (1, 256, (2, 3), 1, 256)],
)
def test_heat_and_outline_fall_on_the_selected_token(num_frames, side, grid, across, tile):
    frames = np.full((num_frames, side, side, 3), 200, np.uint8)
    rows, cols = grid
    frame, row, col = num_frames - 1, rows // 2, cols - 1
    column = (frame * rows + row) * cols + col
    # More than one percent of the columns are high, so that the range reaches up to them.
    scores = np.zeros(num_frames * rows * cols, np.float32)
    high = [column, *range(0, scores.size // 50)]
    scores[high] = 1.0
    sheet = np.asarray(heatmap_image(frames, scores, (column,), grid))

    layer = heat_layer(np.array([[0.0, 1.0]]))[0].astype(float)
    grey = round(0.65 * 200)
    colours = [layer[k, :3] * layer[k, 3] / 255 + grey * (1 - layer[k, 3] / 255) for k in range(2)]
    places = tile_places(across, tile, tile, num_frames)
    for index, (x, y) in enumerate(places):
        for r in range(rows):
            for c in range(cols):
                pixel = sheet[y + round((r + 0.5) * tile / rows), x + round((c + 0.5) * tile / cols)].astype(float)
                flat = (index * rows + r) * cols + c
                np.testing.assert_allclose(pixel, colours[int(scores[flat])], atol=1.5)

    x, y = places[frame]
    left, top = x + round(col * tile / cols), y + round(row * tile / rows)
    middle = y + round((row + 0.5) * tile / rows)
    assert tuple(sheet[middle, left]) == OUTLINE
    assert tuple(sheet[top, left + 5]) == OUTLINE
    outlined = (sheet[:, :, :] == OUTLINE).all(axis=-1)
    # Nowhere else on the frames: the legend's swatch lies below them.
    box = np.zeros_like(outlined)
    box[top - 2 : y + round((row + 1) * tile / rows) + 3, left - 2 : x + tile + 1] = True
    below = places[-1][1] + tile + LABEL
    assert not (outlined & ~box)[:below].any()


def test_colour_bar_runs_from_the_lowest_to_the_highest_colour(make_clip):
    clip = make_clip(0)
    sheet = np.asarray(heatmap_image(clip.frames, clip.scores, clip.selected, clip.grid)).reshape(-1, 3)
    colours = {tuple(int(v) for v in pixel) for pixel in np.unique(sheet, axis=0)}
    assert {tuple(int(v) for v in colour) for colour in colour_map(np.array([0.0, 1.0]))} <= colours


def test_without_scores_the_frames_stay_in_colour():
    frames = np.zeros((1, 192, 192, 3), np.uint8)
    frames[:] = (220, 40, 30)
    sheet = np.asarray(heatmap_image(frames, None, (0,), (4, 4)))
    assert tuple(sheet[MARGIN + 150, MARGIN + 150]) == (220, 40, 30)
    assert tuple(sheet[MARGIN + 24, MARGIN]) == OUTLINE


def test_wide_frames_keep_their_shape(make_clip):
    frames = np.zeros((4, 90, 160, 3), np.uint8)
    sheet = heatmap_image(frames, None, (), (14, 14), times=(0, 0.5, 1, 1.5), title="A title " * 60)
    assert isinstance(sheet, Image.Image)
    assert sheet.mode == "RGB"
    assert sheet.width == 2 * MARGIN + 2 * 192 + GAP


def test_the_same_input_gives_the_same_pixels(make_clip):
    clip = make_clip(0, num_frames=7)
    arguments = (clip.frames, clip.scores, clip.selected, clip.grid)
    first, second = (heatmap_image(*arguments, times=clip.times, title="t") for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_the_input_is_left_as_it_was(make_clip):
    clip = make_clip(0)
    frames, scores = clip.frames.copy(), clip.scores.copy()
    heatmap_image(clip.frames, clip.scores, clip.selected, clip.grid)
    np.testing.assert_array_equal(clip.frames, frames)
    np.testing.assert_array_equal(clip.scores, scores)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": np.zeros(5, np.float32)}, "need 64 scores"),
        ({"selected": (64,)}, "selected columns"),
        ({"times": (0.0,)}, "4 times"),
        ({"frames": np.zeros((0, 8, 8, 3), np.uint8)}, "no frame"),
    ],
)
def test_parts_that_do_not_fit_are_refused(make_clip, changes, message):
    clip = make_clip(0)
    arguments = {
        "frames": clip.frames,
        "scores": clip.scores,
        "selected": clip.selected,
        "grid": clip.grid,
        "times": clip.times,
    }
    with pytest.raises(InputError, match=message):
        heatmap_image(**{**arguments, **changes})
