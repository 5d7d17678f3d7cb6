"""What the pipeline asks of a video language model, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from rlivs.memory.visual import SelectedTokens


@dataclass(frozen=True)
class VisualTokens:
    """The visual tokens of one clip, in the language model's embedding space.

    embeddings `[n, hidden]`, step by step, row by row; `grid` is (rows, columns) of tokens in one step, which is a
    frame, or several where the family merges frames. `extras` holds further per-token tensors that must travel with a
    token (first dimension n). `times` are the frames' seconds since the clip's first frame.
    """

    embeddings: torch.Tensor
    grid: tuple[int, int]
    extras: dict[str, torch.Tensor] = field(default_factory=dict)
    times: tuple[float, ...] = ()

    @property
    def count(self) -> int:
        return self.embeddings.shape[0]

    @property
    def steps(self) -> int:
        """How many grids of tokens the clip has."""
        return self.count // (self.grid[0] * self.grid[1])

    def select(self, clip_index: int, indices: torch.Tensor) -> SelectedTokens:
        """The tokens at `indices` [k] (int64, ascending), ready for memory."""
        return SelectedTokens(
            clip_index=clip_index,
            embeddings=self.embeddings[indices].clone(),
            indices=indices.cpu(),
            extras={name: tensor[indices].clone() for name, tensor in self.extras.items()},
        )


@dataclass(frozen=True)
class Prompt:
    """A prompt as embeddings `[1, S, hidden]`, and the columns (key positions) of the clip's visual tokens.

    `columns` is empty for a prompt of text alone. Where text stands between the frames, the columns reach from the
    first visual token to the last, and `visual` `[n]` int64 are the places of the n visual tokens among them.
    `position_ids` are rotary positions, `[1, S]` or, under M-RoPE, `[axes, 1, S]`; None stands for 0 .. S - 1. A family
    whose language model is fed more than these overrides `inputs`.
    """

    inputs_embeds: torch.Tensor
    columns: slice
    position_ids: torch.Tensor | None = None
    visual: torch.Tensor | None = None

    @property
    def length(self) -> int:
        return self.inputs_embeds.shape[1]

    @property
    def positions(self) -> torch.Tensor:
        """The rotary positions, spelt out."""
        if self.position_ids is not None:
            return self.position_ids
        return torch.arange(self.length, device=self.inputs_embeds.device)[None]

    def inputs(self, start: int, stop: int) -> dict[str, Any]:
        """What the language model is fed for positions `start` to `stop - 1` of the prompt."""
        return {
            "inputs_embeds": self.inputs_embeds[:, start:stop],
            "position_ids": self.positions[..., start:stop],
        }

    def pieces(self, longest: int) -> Iterator[tuple[int, int]]:
        """First and one past the last position of each piece, where the prompt is run `longest` positions at a time."""
        for start in range(0, self.length, longest):
            yield start, min(start + longest, self.length)

    def next_position(self) -> torch.Tensor:
        """The rotary position of the first new token, `[1, 1]` or `[axes, 1, 1]`: one past the largest of any axis."""
        return (self.positions.max() + 1).expand_as(self.positions[..., :1])

    def visual_scores(self, scores: torch.Tensor) -> torch.Tensor:
        """Of scores `[B, columns]`, those of the visual tokens `[B, n]`."""
        return scores if self.visual is None else scores[:, self.visual.to(scores.device)]


class Backbone(Protocol):
    """One model family; docs/add-a-backbone.md adds one step by step.

    `model` is a transformers model with `generate`; `get_decoder()` is its language model.
    """

    model: Any
    tokenizer: Any
    name: str

    @property
    def device(self) -> torch.device: ...

    @property
    def max_positions(self) -> int:
        """Longest sequence the language model takes, in tokens."""
        ...

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of visual tokens in one step; a clip's own, where it depends on its shape, may differ."""
        ...

    @property
    def tokens_per_frame(self) -> int: ...

    @property
    def eos_token_ids(self) -> tuple[int, ...]: ...

    def encode(self, frames: np.ndarray | torch.Tensor, times: Sequence[float] | None = None) -> VisualTokens:
        """Visual tokens of frames `[n, H, W, 3]` uint8 RGB; `times` are their seconds, one a second if not given."""
        ...

    def caption_prompt(self, clip: VisualTokens, memory: Sequence[SelectedTokens], text: str) -> Prompt:
        """A prompt of one user message with the video `clip`, memory before it, oldest first."""
        ...

    def text_prompt(self, text: str) -> Prompt:
        """A prompt of one user message without video."""
        ...
