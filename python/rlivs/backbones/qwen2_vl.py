"""Qwen2-VL: a vision tower for any frame size that merges pairs of frames, a Qwen2 language model with M-RoPE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rlivs.backbones import mrope
from rlivs.backbones.loaded import LoadedBackbone, relative_times
from rlivs.backbones.patches import cut_patches, fit_grid
from rlivs.backbones.preprocessing import PixelRecipe, channels_first, normalise, resize
from rlivs.backbones.pretrained import Pretrained
from rlivs.backbones.protocol import Prompt, VisualTokens
from rlivs.memory.visual import SelectedTokens

# Visual tokens for a frame: as many as LLaVA-OneVision has, 3136 for a clip of 16 frames (arXiv 2510.17364, section 4).
TOKENS_PER_FRAME = 196
USUAL_FRAME = (9, 16)


class QwenVisionTower:
    """Frames of any size to visual tokens, as all Qwen-VL families do it."""

    def __init__(self, pretrained: Pretrained) -> None:
        vision = pretrained.model.config.vision_config
        self._model = pretrained.model.model
        self._recipe = PixelRecipe.of({**pretrained.pixel_settings, "size": 1})
        self._patch, self._merge = vision.patch_size, vision.spatial_merge_size
        self.frames_per_step = vision.temporal_patch_size

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """(rows, columns) of tokens in one step of frames of this size, or shape."""
        return fit_grid(height, width, TOKENS_PER_FRAME * self.frames_per_step)

    @torch.no_grad()
    def encode(self, frames: np.ndarray | torch.Tensor) -> tuple[Any, tuple[int, int]]:
        """The tower's output for frames `[n, H, W, 3]` uint8 RGB, and the grid of one step."""
        tower = self._model.visual
        images = channels_first(frames, tower.device)
        rows, columns = self.grid(*images.shape[-2:])
        cell = self._patch * self._merge
        images = resize(images, rows * cell, columns * cell, self._recipe.filter)
        pixels = normalise(images, self._recipe).to(tower.dtype)
        patches, shape = cut_patches(pixels, self._patch, self._merge, self.frames_per_step)
        output = self._model.get_video_features(patches, torch.tensor([shape], device=tower.device))
        return output, (rows, columns)


class QwenTowerBackbone(LoadedBackbone):
    """What all families with a vision tower of the Qwen kind have in common."""

    def __init__(self, pretrained: Pretrained) -> None:
        super().__init__(pretrained)
        self._tower = QwenVisionTower(pretrained)
        self.grid = self._tower.grid(*USUAL_FRAME)

    @property
    def tokens_per_frame(self) -> int:
        return self.grid[0] * self.grid[1] // self._tower.frames_per_step

    @torch.no_grad()
    def encode(self, frames: np.ndarray | torch.Tensor, times: Sequence[float] | None = None) -> VisualTokens:
        """Visual tokens of frames `[n, H, W, 3]` uint8 RGB, up to 196 a frame; two frames make one step."""
        output, grid = self._tower.encode(frames)
        features = torch.cat(list(output.pooler_output))
        return VisualTokens(self.as_embeddings(features), grid, times=relative_times(times, len(frames)))


class Qwen2VL(QwenTowerBackbone):
    """The Qwen2-VL family, model type `qwen2_vl`.

    A clip's prompt is `[prefix | memory | clip | suffix]`, memory inside the template's vision brackets. The clip has
    the family's own positions: a grid of time, height and width. Memory comes from many clips and many places of their
    grids; it takes ordinary contiguous positions before the clip, as in the paper, and so do all texts. Text goes on
    one past the largest position of any axis, which is how the family was trained.
    """

    placeholder = "<|video_pad|>"

    def caption_prompt(self, clip: VisualTokens, memory: Sequence[SelectedTokens], text: str) -> Prompt:
        prefix, suffix = self.chat.around_video(text)
        before = [self.embed(prefix), *(slot.embeddings.to(clip.embeddings) for slot in memory)]
        start = sum(part.shape[0] for part in before)
        parts = [*before, clip.embeddings, self.embed(suffix)]
        leading = mrope.in_line(0, start)
        grid = mrope.in_grid(start, clip.steps, *clip.grid, self.time_interval(clip))
        trailing = mrope.in_line(mrope.after(grid), len(suffix))
        return Prompt(
            inputs_embeds=torch.cat(parts)[None],
            columns=slice(start, start + clip.count),
            position_ids=torch.cat([leading, grid, trailing], dim=1)[:, None].to(self.device),
        )

    def time_interval(self, clip: VisualTokens) -> float:
        """Positions from one step to the next on the axis of time."""
        return 1.0
