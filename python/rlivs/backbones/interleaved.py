"""Families whose prompt has text between the frames."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch

from rlivs.backbones.loaded import LoadedBackbone
from rlivs.backbones.pretrained import Pretrained
from rlivs.backbones.protocol import Prompt, VisualTokens
from rlivs.memory.visual import SelectedTokens


class InterleavedBackbone(LoadedBackbone):
    """A prompt `[prefix | memory | text | frame | text | frame | .. | suffix]`.

    A family names the `image_token` that stands for one visual token, and writes out a clip in `write_clip`. Memory
    comes before the clip as one more picture, in the family's own brackets around a picture.
    """

    image_token: ClassVar[str]
    brackets: ClassVar[tuple[str, str]]

    def __init__(self, pretrained: Pretrained) -> None:
        super().__init__(pretrained)
        self._image_id = self.tokenizer.convert_tokens_to_ids(self.image_token)

    @abstractmethod
    def write_clip(self, clip: VisualTokens) -> str:
        """The clip as text, `image_token` once for each of its visual tokens, in order."""

    def write_picture(self, num_tokens: int) -> str:
        """A picture of `num_tokens` visual tokens as text."""
        return f"{self.brackets[0]}{self.image_token * num_tokens}{self.brackets[1]}"

    def caption_prompt(self, clip: VisualTokens, memory: Sequence[SelectedTokens], text: str) -> Prompt:
        embeds, places = self.compose(clip, memory, text)
        own = places[-clip.count :]
        return Prompt(inputs_embeds=embeds[None], columns=slice(int(own[0]), int(own[-1]) + 1), visual=own - own[0])

    def compose(
        self, clip: VisualTokens, memory: Sequence[SelectedTokens], text: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The prompt's embeddings `[S, hidden]`, and the places `[m + n]` of memory's and the clip's tokens in it."""
        return self.fill(self.token_ids(clip, memory, text), clip, memory)

    def token_ids(self, clip: VisualTokens, memory: Sequence[SelectedTokens], text: str) -> list[int]:
        """The prompt's `S` ids, that of `image_token` for each of memory's and the clip's tokens."""
        written = self.write_picture(sum(len(slot.embeddings) for slot in memory)) if memory else ""
        return self.chat.with_video(text, written + self.write_clip(clip))

    def fill(
        self, ids: Sequence[int], clip: VisualTokens, memory: Sequence[SelectedTokens]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `compose`, of the prompt's token ids."""
        remembered = [slot.embeddings.to(clip.embeddings) for slot in memory]
        places = torch.tensor([place for place, token in enumerate(ids) if token == self._image_id], device=self.device)
        return self.embed(ids).index_copy(0, places, torch.cat([*remembered, clip.embeddings])), places


def minutes_and_seconds(seconds: float) -> str:
    """Whole seconds as 01:05, hours as more minutes."""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
