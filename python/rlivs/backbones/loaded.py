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

    A family names its placeholder for a video in `video_token`, sets `grid`, and adds `encode` and `caption_prompt`.
    """

    video_token: ClassVar[str]
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
            self.video_token,
            name=pretrained.name,
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
