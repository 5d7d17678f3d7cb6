"""VideoLLaMA3: a vision tower for any frame size, times between the frames, a Qwen2 language model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rlivs.backbones import qwen2_vl
from rlivs.backbones.interleaved import InterleavedBackbone
from rlivs.backbones.loaded import relative_times
from rlivs.backbones.patches import cut_patches, fit_grid
from rlivs.backbones.preprocessing import PixelRecipe, channels_first, normalise, resize
from rlivs.backbones.pretrained import Pretrained
from rlivs.backbones.protocol import VisualTokens

# Patches on a side of a token, where the settings of the checkpoint's processor do not say.
MERGE_SIZE = 2


class VideoLlama3(InterleavedBackbone):
    """The VideoLLaMA3 family (2B, 7B), model type `video_llama_3`.

    Each frame stands behind its time, in seconds since the clip's start; memory is a picture on a line of its own. All
    tokens of a frame are kept: the hub's processor leaves out those whose pixels are nearly the last frame's unless it
    is told not to (`use_token_compression`), but here memory selects among the tokens, and heat maps need whole grids.
    """

    placeholder = "<|video_pad|>"
    image_token = "<|video_pad|>"
    brackets = ("", "\n")

    def __init__(self, pretrained: Pretrained) -> None:
        super().__init__(pretrained)
        settings = pretrained.pixel_settings
        self._recipe = PixelRecipe.of({**settings, "size": 1})
        self._patch = self.model.config.vision_config.patch_size
        self._merge = int(settings.get("merge_size", MERGE_SIZE))
        self.grid = fit_grid(*qwen2_vl.USUAL_FRAME, qwen2_vl.TOKENS_PER_FRAME)

    @torch.no_grad()
    def encode(self, frames: np.ndarray | torch.Tensor, times: Sequence[float] | None = None) -> VisualTokens:
        """Visual tokens of frames `[n, H, W, 3]` uint8 RGB, up to 196 a frame."""
        tower = self.model.model.vision_model
        images = channels_first(frames, tower.device)
        height, width = images.shape[-2:]
        rows, columns = fit_grid(height, width, qwen2_vl.TOKENS_PER_FRAME)
        cell = self._patch * self._merge
        images = resize(images, rows * cell, columns * cell, self._recipe.filter)
        pixels = normalise(images, self._recipe).to(tower.dtype)
        patches, shape = cut_patches(pixels, self._patch, self._merge, together=1)
        shapes, merges = (torch.tensor([size], device=tower.device) for size in (shape, self._merge))
        features = torch.cat(list(self.model.model.get_video_features(patches, shapes, merges).pooler_output))
        return VisualTokens(self.as_embeddings(features), (rows, columns), times=relative_times(times, len(frames)))

    def write_clip(self, clip: VisualTokens) -> str:
        frame = self.image_token * (clip.grid[0] * clip.grid[1])
        return ",".join(f"Time {time:.1f}s:{frame}" for time in clip.times)
