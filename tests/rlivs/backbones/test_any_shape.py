"""Frames of any shape, in the families beside Qwen's that take them: grids as wide to high as the frames."""

import numpy as np
import pytest
from families import video_llama_3
from tiny_models import load_tiny_backbone

from rlivs.backbones import qwen2_vl
from rlivs.backbones.minicpmv4_6 import fit_area

TOKENS_PER_FRAME = video_llama_3.ROWS * video_llama_3.COLUMNS


@pytest.fixture(scope="module", params=["minicpmv4_6", "video_llama_3"])
def backbone(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patcher:
        patcher.setattr(qwen2_vl, "TOKENS_PER_FRAME", TOKENS_PER_FRAME)
        yield load_tiny_backbone(tmp_path_factory.mktemp(request.param), request.param)


@pytest.mark.parametrize(
    "height, width, grid", [(30, 40, (2, 3)), (40, 30, (3, 2)), (20, 80, (1, 5)), (80, 20, (5, 1))]
)
def test_grids(backbone, height, width, grid):
    frames = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    clip = backbone.encode(frames)
    assert clip.grid == grid and clip.steps == 2
    # the end of the first row
    frames[1, : height // grid[0], -width // grid[1] :] ^= 255
    difference = (backbone.encode(frames).embeddings - clip.embeddings).abs().sum(-1).reshape(clip.steps, *grid)
    assert difference[0].max() <= 1e-4 and difference[1].argmax() == grid[1] - 1


@pytest.mark.parametrize(
    "height, width, grid",
    [(448, 448, (8, 8)), (1080, 1920, (6, 11)), (1920, 1080, (11, 6)), (90, 160, (6, 11)), (100, 900, (3, 24))],
)
def test_minicpm_makes_frames_as_large_as_a_square_of_448_pixels(height, width, grid):
    assert fit_area(height, width, 448, 56) == grid
