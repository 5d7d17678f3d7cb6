"""MiniCPM-V 4.6: a SigLIP tower for any shape of frames that merges twice, the language model of Qwen3.5."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from rlivs.backbones.interleaved import InterleavedBackbone
from rlivs.backbones.loaded import relative_times
from rlivs.backbones.preprocessing import PixelRecipe, channels_first, normalise, resize
from rlivs.backbones.pretrained import Pretrained
from rlivs.backbones.protocol import VisualTokens
from rlivs.backbones.qwen2_vl import USUAL_FRAME

MODE, MERGED = "16x", 4  # a token is merged from 4x4 patches
SIDE = 448  # of a square frame in pixels, where the settings of the checkpoint's processor do not say


class MiniCPMV46(InterleavedBackbone):
    """The MiniCPM-V 4.6 family, model type `minicpmv4_6`.

    Each frame is a picture, behind the last one, as its makers advise for video: whole (the hub's processor cuts large
    ones to slices, too, unless it is told not to) and without a number. Positions are plain, for all of a prompt.
    """

    placeholder = "<|video_pad|>"
    image_token = "<|video_pad|>"
    brackets = ("<image>", "</image>")
    reserved = brackets

    def __init__(self, pretrained: Pretrained) -> None:
        super().__init__(pretrained)
        settings = pretrained.pixel_settings
        self._recipe = PixelRecipe.of({**settings, "size": 1})
        self._side = int(settings.get("scale_resolution", SIDE))
        self._patch = self.model.config.vision_config.patch_size
        self.grid = fit_area(*USUAL_FRAME, self._side, self._patch * MERGED)

    @torch.no_grad()
    def encode(self, frames: np.ndarray | torch.Tensor, times: Sequence[float] | None = None) -> VisualTokens:
        """Visual tokens of frames `[n, H, W, 3]` uint8 RGB, about 64 a frame at 448 px."""
        tower = self.model.model.vision_tower
        images = channels_first(frames, tower.device)
        height, width = images.shape[-2:]
        cell = self._patch * MERGED
        rows, columns = fit_area(height, width, self._side, cell)
        pixels = normalise(resize(images, rows * cell, columns * cell, self._recipe.filter), self._recipe)
        patches = cut_strip(pixels, self._patch).to(tower.dtype)
        shapes = torch.tensor([[rows * MERGED, columns * MERGED]] * len(frames), device=tower.device)
        output = self.model.model.get_video_features(patches, shapes, downsample_mode=MODE)
        features = self.as_embeddings(torch.cat(list(output.pooler_output)))
        return VisualTokens(features, (rows, columns), times=relative_times(times, len(frames)))

    def write_clip(self, clip: VisualTokens) -> str:
        return self.write_picture(clip.grid[0] * clip.grid[1]) * clip.steps


def fit_area(height: int, width: int, side: int, cell: int) -> tuple[int, int]:
    """(rows, columns) of squares of `cell` pixels for a frame of this shape, about as large as a square of `side`."""
    ratio = width / height
    height = int(side / math.sqrt(ratio))
    return max(1, round(height / cell)), max(1, round(int(height * ratio) / cell))


def cut_strip(pixels: torch.Tensor, patch: int) -> torch.Tensor:
    """All patches of `[n, 3, H, W]` side by side, frame by frame and row by row: `[1, 3, patch, n * H * W / patch]`."""
    frames, _, height, width = pixels.shape
    split = pixels.reshape(frames, 3, height // patch, patch, width // patch, patch)
    return split.permute(1, 3, 0, 2, 4, 5).reshape(1, 3, patch, -1)
