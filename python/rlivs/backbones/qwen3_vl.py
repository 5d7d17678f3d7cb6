"""Qwen3-VL: timestamps between the frames, M-RoPE, and vision features fed to the first decoder layers (deepstack)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rlivs.backbones import mrope
from rlivs.backbones.interleaved import InterleavedBackbone
from rlivs.backbones.loaded import relative_times
from rlivs.backbones.pretrained import Pretrained
from rlivs.backbones.protocol import Prompt, VisualTokens
from rlivs.backbones.qwen2_vl import USUAL_FRAME, QwenVisionTower
from rlivs.memory.visual import SelectedTokens

DEEPSTACK = "deepstack"


@dataclass(frozen=True, kw_only=True)
class DeepstackPrompt(Prompt):
    """A prompt whose visual tokens, at `places` `[m]`, bring `deepstack` `[m, levels, hidden]` for the first layers."""

    places: torch.Tensor
    deepstack: torch.Tensor

    def inputs(self, start: int, stop: int) -> dict[str, Any]:
        inputs = super().inputs(start, stop)
        here = (self.places >= start) & (self.places < stop)
        if bool(here.any()):
            mask = torch.zeros(1, stop - start, dtype=torch.bool, device=self.places.device)
            mask[0, self.places[here] - start] = True
            inputs |= {"visual_pos_masks": mask, "deepstack_visual_embeds": list(self.deepstack[here].unbind(1))}
        return inputs


class Qwen3VL(InterleavedBackbone):
    """The Qwen3-VL family, model type `qwen3_vl`.

    Each step of a clip stands in vision brackets behind its time, which is written in seconds since the clip's start.
    A step has a grid of positions; memory and text take ordinary contiguous ones. Every remembered token keeps the
    deepstack vectors it was selected with.
    """

    placeholder = "<|vision_start|><|video_pad|><|vision_end|>"
    image_token = "<|video_pad|>"
    brackets = ("<|vision_start|>", "<|vision_end|>")
    reserved = (image_token, *brackets)

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
        # One tensor a level, which some versions of transformers have split by video.
        levels = [x if isinstance(x, torch.Tensor) else torch.cat(list(x)) for x in output.deepstack_features]
        return VisualTokens(
            self.as_embeddings(torch.cat(list(output.pooler_output))),
            grid,
            extras={DEEPSTACK: torch.stack([self.as_embeddings(level) for level in levels], dim=1)},
            times=relative_times(times, len(frames)),
        )

    def write_clip(self, clip: VisualTokens) -> str:
        together = self._tower.frames_per_step
        picture = self.write_picture(clip.grid[0] * clip.grid[1])
        written = ""
        for first in range(0, len(clip.times), together):
            of_step = clip.times[first : first + together]
            written += f"<{(of_step[0] + of_step[-1]) / 2:.1f} seconds>{picture}"
        return written

    def caption_prompt(self, clip: VisualTokens, memory: Sequence[SelectedTokens], text: str) -> Prompt:
        embeds, places = self.compose(clip, memory, text)
        own = places[-clip.count :]
        deepstack = [*(slot.extras[DEEPSTACK] for slot in memory), clip.extras[DEEPSTACK]]
        return DeepstackPrompt(
            inputs_embeds=embeds[None],
            columns=slice(int(own[0]), int(own[-1]) + 1),
            position_ids=self._positions(clip, own, len(embeds)),
            visual=own - own[0],
            places=places,
            deepstack=torch.cat([vectors.to(embeds) for vectors in deepstack]),
        )

    def _positions(self, clip: VisualTokens, own: torch.Tensor, length: int) -> torch.Tensor:
        pieces, done, position = [], 0, 0
        for first, last in own.reshape(clip.steps, -1)[:, [0, -1]].tolist():
            pieces.append(mrope.in_line(position, first - done))
            pieces.append(mrope.in_grid(position + first - done, 1, *clip.grid))
            done, position = last + 1, mrope.after(pieces[-1])
        pieces.append(mrope.in_line(position, length - done))
        return torch.cat(pieces, dim=1)[:, None].to(self.device)
