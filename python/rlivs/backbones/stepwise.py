"""Families with a vision tower of the Qwen kind that write down the time of each step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import torch

from rlivs.backbones import mrope
from rlivs.backbones.interleaved import InterleavedBackbone
from rlivs.backbones.protocol import Prompt, VisualTokens
from rlivs.backbones.qwen2_vl import QwenTowerBackbone
from rlivs.memory.visual import SelectedTokens


class StepwiseBackbone(QwenTowerBackbone, InterleavedBackbone):
    """A step of a clip, usually two frames, is a picture beside its time; `write_step` is the family's own.

    Each step has a grid of positions; memory and text take ordinary contiguous ones.
    """

    @abstractmethod
    def write_step(self, picture: str, times: Sequence[float]) -> str:
        """A step as text: `picture`, and what its frames' times, in seconds since the clip's start, make of it."""

    def write_clip(self, clip: VisualTokens) -> str:
        together = self._tower.frames_per_step
        picture = self.write_picture(clip.grid[0] * clip.grid[1])
        firsts = range(0, len(clip.times), together)
        return "".join(self.write_step(picture, clip.times[first : first + together]) for first in firsts)

    def caption_prompt(self, clip: VisualTokens, memory: Sequence[SelectedTokens], text: str) -> Prompt:
        prompt = super().caption_prompt(clip, memory, text)
        assert prompt.visual is not None
        own = prompt.columns.start + prompt.visual
        return replace(prompt, position_ids=self._positions(clip, own, prompt.length))

    def _positions(self, clip: VisualTokens, own: torch.Tensor, length: int) -> torch.Tensor:
        """Positions `[3, 1, length]` of a prompt with the clip's tokens at the places `own` `[n]`."""
        pieces, done, position = [], 0, 0
        for first, last in own.reshape(clip.steps, -1)[:, [0, -1]].tolist():
            pieces.append(mrope.in_line(position, first - done))
            pieces.append(mrope.in_grid(position + first - done, 1, *clip.grid))
            done, position = last + 1, mrope.after(pieces[-1])
        pieces.append(mrope.in_line(position, length - done))
        return torch.cat(pieces, dim=1)[:, None].to(self.device)
