"""Pixels: Pillow's bicubic within a level, and the normalisation as written on paper."""

import numpy as np
import pytest
import torch
from PIL import Image

from rlivs.backbones.preprocessing import PixelRecipe, channels_first, pixel_values, resize, resize_in_float
from rlivs.errors import InputError

SIZES = [(48, 64, 35, 35), (120, 90, 27, 56), (20, 30, 56, 56), (33, 57, 33, 20), (35, 35, 35, 35)]


def picture(height, width):
    """What video looks like: a ramp, sharp-edged shapes, a little grain."""
    rows, columns = np.mgrid[:height, :width]
    levels = np.stack([columns * 255 // width, rows * 255 // height, (rows + columns) % 256], axis=-1)
    levels[(rows - height / 3) ** 2 + (columns - width / 2) ** 2 < (height / 4) ** 2] = (250, 10, 30)
    levels[height // 2 :, : width // 3] = (0, 255, 255)
    grain = np.random.default_rng(height * width).integers(-6, 7, levels.shape)
    return (levels + grain).clip(0, 255).astype(np.uint8)


def white_noise(height, width):
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("height, width, new_height, new_width", SIZES)
def test_resize_is_pillows_bicubic(height, width, new_height, new_width):
    frame = picture(height, width)
    ours = resize(channels_first(frame[None], torch.device("cpu")), new_height, new_width)
    # The width first: Pillow alone chooses the order of its two passes by their cost, and edges clip in between.
    image = Image.fromarray(frame).resize((new_width, height), Image.Resampling.BICUBIC)
    pillows = np.asarray(image.resize((new_width, new_height), Image.Resampling.BICUBIC))
    difference = ours[0].permute(1, 2, 0).numpy().astype(int) - pillows.astype(int)
    assert ours.dtype == torch.uint8
    assert np.abs(difference).max() <= 1
    if (height, width) == (new_height, new_width):
        assert not difference.any()


@pytest.mark.parametrize("make", [picture, white_noise])
@pytest.mark.parametrize("height, width, new_height, new_width", SIZES)
def test_other_devices_give_the_same_pixels(height, width, new_height, new_width, make):
    frames = channels_first(make(height, width)[None], torch.device("cpu"))
    expected = resize(frames, new_height, new_width).int()
    difference = (resize_in_float(frames, new_height, new_width).int() - expected).abs()
    # each of the two passes may round a level differently
    assert difference.max() <= (height != new_height) + (width != new_width)
    assert (difference <= 1).float().mean() > 0.999


def test_normalisation_is_exact():
    frames = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=-1)
    recipe = PixelRecipe(height=16, width=16, mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.2))
    pixels = pixel_values(frames, recipe, device=torch.device("cpu"), dtype=torch.float32)
    expected = (frames.astype(np.float64) / 255 - [0.5, 0.4, 0.3]) / [0.5, 0.25, 0.2]
    assert pixels.shape == (1, 3, 16, 16)
    np.testing.assert_allclose(pixels.permute(0, 2, 3, 1).numpy(), expected, rtol=0, atol=1e-6)


def test_pixels_come_in_the_type_asked_for():
    recipe = PixelRecipe(height=8, width=8, mean=(0.5,) * 3, std=(0.5,) * 3)
    frames = torch.zeros(2, 20, 10, 3, dtype=torch.uint8)
    pixels = pixel_values(frames, recipe, device=torch.device("cpu"), dtype=torch.bfloat16)
    assert pixels.dtype == torch.bfloat16
    assert pixels.shape == (2, 3, 8, 8)
    assert (pixels == -1).all()


def test_frames_of_any_memory_layout_give_the_same_pixels(recwarn):
    recipe = PixelRecipe(height=16, width=16, mean=(0.5,) * 3, std=(0.5,) * 3)
    frames = picture(40, 30)[None]
    expected = pixel_values(frames, recipe, device=torch.device("cpu"), dtype=torch.float32)
    mirrored = frames[:, :, ::-1].copy()[:, :, ::-1]
    locked = frames.copy()
    locked.flags.writeable = False
    for same in (mirrored, locked, torch.from_numpy(frames)):
        assert torch.equal(pixel_values(same, recipe, device=torch.device("cpu"), dtype=torch.float32), expected)
    assert not recwarn.list


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((2, 3, 8, 8), np.uint8),
        np.zeros((0, 8, 8, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(frames):
    with pytest.raises(InputError, match=r"uint8 RGB frames \[n, height, width, 3\]"):
        channels_first(frames, torch.device("cpu"))


NORMALISED = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


@pytest.mark.parametrize(
    "size, expected",
    [({"height": 20, "width": 30}, (20, 30)), ({"shortest_edge": 24}, (24, 24)), (28, (28, 28))],
)
def test_sizes_of_a_processor(size, expected):
    recipe = PixelRecipe.of({"size": size, **NORMALISED})
    assert (recipe.height, recipe.width) == expected
    assert recipe.rescale == 1 / 255


def test_unknown_size_is_refused():
    with pytest.raises(InputError, match="height and a width"):
        PixelRecipe.of({"size": {"longest_edge": 24}, **NORMALISED})


def test_bilinear_processor_gets_bilinear_pixels():
    recipe = PixelRecipe.of({"size": {"height": 20, "width": 20}, "resample": 2, **NORMALISED})
    frame = picture(40, 50)
    pixels = pixel_values(frame[None], recipe, device=torch.device("cpu"), dtype=torch.float32)
    pillows = np.asarray(Image.fromarray(frame).resize((20, 20), Image.Resampling.BILINEAR))
    levels = (pixels[0].permute(1, 2, 0).numpy() * 0.5 + 0.5) * 255
    assert np.abs(levels - pillows).max() <= 1.001
