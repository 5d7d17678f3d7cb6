"""LLaVA-OneVision: a SigLIP tower, a projector with 2x2 pooling, a Qwen2 language model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rlivs.backbones.checkpoint import Checkpoint
from rlivs.backbones.preprocessing import pixel_values
from rlivs.backbones.protocol import Prompt, VisualTokens
from rlivs.memory.visual import SelectedTokens

VIDEO_TOKEN = "<video>"


class LlavaOnevision:
    """The LLaVA-OneVision family (0.5B, 7B and the shipped small model), model type `llava_onevision`.

    A clip's prompt is `[prefix | memory | separator | clip | newline | suffix]`: prefix and suffix are the chat
    template around the video, separator and newline the model's own `image_newline` vector, and the separator
    is there only when memory is. The columns of the clip are computed from these lengths, never assumed.
    """

    model_type = "llava_onevision"

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.model = checkpoint.model
        self.tokenizer = checkpoint.tokenizer
        self.name = checkpoint.name
        self._recipe = checkpoint.pixel_recipe
        self._chat_template = checkpoint.chat_template
        config = self.model.config
        side = config.vision_config.image_size // config.vision_config.patch_size
        pooled = math.ceil(side / 2)
        self.grid = (pooled, pooled)
        self.max_positions = int(config.text_config.max_position_embeddings)
        self.eos_token_ids = checkpoint.eos_token_ids

    @property
    def device(self) -> torch.device:
        return self.model.get_input_embeddings().weight.device

    @property
    def tokens_per_frame(self) -> int:
        return self.grid[0] * self.grid[1]

    @torch.no_grad()
    def encode(self, frames: np.ndarray | torch.Tensor) -> VisualTokens:
        """Visual tokens `[n * tokens_per_frame, hidden]` of frames `[n, H, W, 3]` uint8 RGB (196 a frame at 384 px)."""
        tower = next(self.model.model.vision_tower.parameters())
        pixels = pixel_values(frames, self._recipe, device=tower.device, dtype=tower.dtype)
        config = self.model.config
        features: Any = self.model.model.get_video_features(
            pixels[None],
            vision_feature_layer=config.vision_feature_layer,
            vision_feature_select_strategy=config.vision_feature_select_strategy,
        )
        features = getattr(features, "pooler_output", features)
        # Some versions of transformers append the newline vector to the features, some do it later: keep the tokens.
        count = pixels.shape[0] * self.tokens_per_frame
        features = features.reshape(-1, features.shape[-1])[:count]
        return VisualTokens(embeddings=features.to(self.device), grid=self.grid)

    def caption_prompt(self, clip: VisualTokens, memory: Sequence[SelectedTokens], text: str) -> Prompt:
        prefix, suffix = self._around_video(text)
        newline = self.model.model.image_newline.detach()[None].to(clip.embeddings)
        parts = [self._embed(prefix)]
        if memory:
            parts += [slot.embeddings.to(clip.embeddings) for slot in memory] + [newline]
        start = sum(part.shape[0] for part in parts)
        parts += [clip.embeddings, newline, self._embed(suffix)]
        columns = slice(start, start + clip.embeddings.shape[0])
        return Prompt(inputs_embeds=torch.cat(parts)[None], columns=columns)

    def text_prompt(self, text: str) -> Prompt:
        rendered = self._render([{"type": "text", "text": text}])
        return Prompt(inputs_embeds=self._embed(rendered)[None], columns=slice(0, 0))

    def _around_video(self, text: str) -> tuple[str, str]:
        rendered = self._render([{"type": "video"}, {"type": "text", "text": text}])
        prefix, _, suffix = rendered.partition(VIDEO_TOKEN)
        return prefix, suffix

    def _render(self, content: list[dict[str, str]]) -> str:
        return self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=self._chat_template,
            add_generation_prompt=True,
            tokenize=False,
        )

    @torch.no_grad()
    def _embed(self, text: str) -> torch.Tensor:
        ids = self.tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids[0]
        return self.model.get_input_embeddings()(ids.to(self.device))
