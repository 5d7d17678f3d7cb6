"""What the pipeline asks of a video language model, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from rlivs.memory.visual import SelectedTokens


@dataclass(frozen=True)
class VisualTokens:
    """The visual tokens of one clip, in the language model's embedding space.

    embeddings `[n, hidden]`, frame by frame, row by row; `grid` is (rows, columns) of tokens in one frame;
    `extras` holds further per-token tensors that must travel with a token (first dimension n).
    """

    embeddings: torch.Tensor
    grid: tuple[int, int]
    extras: dict[str, torch.Tensor] = field(default_factory=dict)

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

    `columns` is empty for a prompt of text alone. `model_inputs` are further keyword arguments of the model.
    """

    inputs_embeds: torch.Tensor
    columns: slice
    model_inputs: dict[str, Any] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return self.inputs_embeds.shape[1]


class Backbone(Protocol):
    """One model family. See docs of `rlivs.backbones.llava_onevision` for the first of them."""

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
        """(rows, columns) of visual tokens in one frame."""
        ...

    @property
    def tokens_per_frame(self) -> int: ...

    @property
    def eos_token_ids(self) -> tuple[int, ...]: ...

    def encode(self, frames: np.ndarray | torch.Tensor) -> VisualTokens:
        """Visual tokens of frames `[n, H, W, 3]` uint8 RGB."""
        ...

    def caption_prompt(self, clip: VisualTokens, memory: Sequence[SelectedTokens], text: str) -> Prompt:
        """`[prefix | memory | separator | clip | newline | suffix]`, memory oldest first."""
        ...

    def text_prompt(self, text: str) -> Prompt:
        """A prompt of one user message without video."""
        ...
