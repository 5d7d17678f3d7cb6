"""What the backbones of all families share: a loaded model, its chat template, text to embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from rlivs.backbones.chat import ChatTemplate
from rlivs.backbones.pretrained import Pretrained
from rlivs.backbones.protocol import Prompt


class LoadedBackbone:
    """The parts of `rlivs.backbones.protocol.Backbone` that do not depend on the family.

    A family says in `placeholder` what its chat template writes for a video, sets `grid`, and adds `encode` and
    `caption_prompt`. `reserved` is more text that no user may write; `add_special_tokens` lets the tokenizer begin the
    prompt with what it begins every text with.
    """

    placeholder: ClassVar[str]
    reserved: ClassVar[tuple[str, ...]] = ()
    add_special_tokens: ClassVar[bool] = False
    grid: tuple[int, int]

    def __init__(self, pretrained: Pretrained) -> None:
        self.model: Any = pretrained.model
        self.tokenizer: Any = pretrained.tokenizer
        self.name = pretrained.name
        self.eos_token_ids = pretrained.eos_token_ids
        self.max_positions = int(self.model.config.get_text_config().max_position_embeddings)
        self.chat = ChatTemplate(
            pretrained.tokenizer,
            pretrained.chat_template,
            self.placeholder,
            name=pretrained.name,
            reserved=self.reserved,
            add_special_tokens=self.add_special_tokens,
        )

    @property
    def device(self) -> torch.device:
        return self.model.get_input_embeddings().weight.device

    @property
    def tokens_per_frame(self) -> int:
        return self.grid[0] * self.grid[1]

    def text_prompt(self, text: str) -> Prompt:
        return Prompt(inputs_embeds=self.embed(self.chat.alone(text))[None], columns=slice(0, 0))

    @torch.no_grad()
    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        """The input embeddings `[n, hidden]` of token ids."""
        return self.model.get_input_embeddings()(torch.tensor(ids, dtype=torch.long, device=self.device))

    def as_embeddings(self, features: torch.Tensor) -> torch.Tensor:
        """Features of a vision tower `[..., hidden]` as `[n, hidden]`, where and as the language model takes them."""
        return features.reshape(-1, features.shape[-1]).to(self.model.get_input_embeddings().weight)


def relative_times(times: Sequence[float] | None, num_frames: int) -> tuple[float, ...]:
    """Seconds since the first of `num_frames` frames; one frame a second if `times` is not known."""
    if times is None:
        times = range(num_frames)
    # To the microsecond: a difference such as 4.1 - 3.1 would else fall short of a whole second by its last digit.
    return tuple(round(float(time - times[0]), 6) for time in times)
