"""Perception-LM (PLM): a Perception Encoder tower, pooling of 2x2 patches, a Llama language model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from rlivs.backbones.interleaved import InterleavedBackbone
from rlivs.backbones.loaded import relative_times
from rlivs.backbones.preprocessing import PixelRecipe, pixel_values
from rlivs.backbones.pretrained import Pretrained
from rlivs.backbones.protocol import VisualTokens


class PerceptionLM(InterleavedBackbone):
    """The Perception-LM family (1B, 3B, 8B), model type `perception_lm`.

    A prompt is `[prefix | memory | clip | suffix]`, with nothing between memory, clip and frames. The vision tower is
    timm's: to load a checkpoint, timm must be installed, and torchvision, which timm needs.
    """

    placeholder = "<|video|>"
    image_token = "<|video|>"
    brackets = ("", "")
    add_special_tokens = True

    def __init__(self, pretrained: Pretrained) -> None:
        super().__init__(pretrained)
        self._recipe = PixelRecipe.of(pretrained.pixel_settings)
        # The model's configuration does not say how large a patch is: a blank frame shows the grid.
        self.grid = self.encode(np.zeros((1, self._recipe.height, self._recipe.width, 3), dtype=np.uint8)).grid

    @torch.no_grad()
    def encode(self, frames: np.ndarray | torch.Tensor, times: Sequence[float] | None = None) -> VisualTokens:
        """Visual tokens `[n * tokens_per_frame, hidden]` of frames `[n, H, W, 3]` uint8 RGB (256 a frame at 448 px)."""
        tower = self.model.model.vision_tower
        pixels = pixel_values(frames, self._recipe, device=tower.device, dtype=tower.dtype)
        features = self.model.model.get_image_features(pixels[None]).pooler_output
        side = math.isqrt(features.shape[1])
        return VisualTokens(self.as_embeddings(features), (side, side), times=relative_times(times, len(pixels)))

    def write_clip(self, clip: VisualTokens) -> str:
        return self.image_token * clip.count
