"""Qwen3-VL: timestamps between the frames, M-RoPE, and vision features fed to the first decoder layers (deepstack)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rlivs.backbones.loaded import relative_times
from rlivs.backbones.protocol import Prompt, VisualTokens
from rlivs.backbones.stepwise import StepwiseBackbone
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


class TimedQwen(StepwiseBackbone):
    """The prompt of Qwen3-VL and later: each step of a clip stands in vision brackets behind its time, which is written
    in seconds since the clip's start.
    """

    placeholder = "<|vision_start|><|video_pad|><|vision_end|>"
    image_token = "<|video_pad|>"
    brackets = ("<|vision_start|>", "<|vision_end|>")
    reserved = (image_token, *brackets)

    def write_step(self, picture: str, times: Sequence[float]) -> str:
        return f"<{(times[0] + times[-1]) / 2:.1f} seconds>{picture}"


class Qwen3VL(TimedQwen):
    """The Qwen3-VL families, model types `qwen3_vl` and `qwen3_vl_moe`.

    Every remembered token keeps the deepstack vectors it was selected with.
    """

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
