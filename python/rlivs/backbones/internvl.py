"""InternVL: an InternViT tower, pixel shuffle, a Qwen2, Qwen3 or InternLM language model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rlivs.backbones.interleaved import InterleavedBackbone
from rlivs.backbones.loaded import relative_times
from rlivs.backbones.preprocessing import PixelRecipe, pixel_values
from rlivs.backbones.pretrained import Pretrained
from rlivs.backbones.protocol import VisualTokens


class InternVL(InterleavedBackbone):
    """The InternVL family in transformers' own format (InternVL3 and later), model type `internvl`."""

    placeholder = "<video>"
    image_token = "<IMG_CONTEXT>"
    brackets = ("<img>", "</img>")
    reserved = (image_token, *brackets)

    def __init__(self, pretrained: Pretrained) -> None:
        super().__init__(pretrained)
        self._recipe = PixelRecipe.of(pretrained.pixel_settings)
        vision = self.model.config.vision_config
        shrink = self.model.config.downsample_ratio
        rows, columns = (
            int(pixels // patch * shrink) for pixels, patch in zip(vision.image_size, vision.patch_size, strict=True)
        )
        self.grid = (rows, columns)

    @torch.no_grad()
    def encode(self, frames: np.ndarray | torch.Tensor, times: Sequence[float] | None = None) -> VisualTokens:
        """Visual tokens `[n * tokens_per_frame, hidden]` of frames `[n, H, W, 3]` uint8 RGB (256 a frame at 448 px)."""
        tower = self.model.model.vision_tower
        pixels = pixel_values(frames, self._recipe, device=tower.device, dtype=tower.dtype)
        features = self.model.model.get_image_features(pixels).pooler_output
        return VisualTokens(self.as_embeddings(features), self.grid, times=relative_times(times, len(pixels)))

    def write_clip(self, clip: VisualTokens) -> str:
        picture = self.write_picture(self.tokens_per_frame)
        return "\n".join(f"Frame{frame}: {picture}" for frame in range(1, clip.steps + 1))
