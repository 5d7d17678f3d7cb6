"""LLaVA-OneVision: a SigLIP tower, a projector with 2x2 pooling, a Qwen2 language model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from rlivs.backbones.loaded import LoadedBackbone, relative_times
from rlivs.backbones.preprocessing import PixelRecipe, pixel_values
from rlivs.backbones.pretrained import Pretrained
from rlivs.backbones.protocol import Prompt, VisualTokens
from rlivs.memory.visual import SelectedTokens


class LlavaOnevision(LoadedBackbone):
    """The LLaVA-OneVision family (0.5B, 7B and the shipped small model), model type `llava_onevision`.

    A clip's prompt is `[prefix | memory | separator | clip | newline | suffix]`: prefix and suffix are the chat
    template around the video, separator and newline the model's own `image_newline` vector, and the separator
    is there only when memory is. The columns of the clip are computed from these lengths, never assumed.
    """

    placeholder = "<video>"

    def __init__(self, pretrained: Pretrained) -> None:
        super().__init__(pretrained)
        self._recipe = PixelRecipe.of(pretrained.pixel_settings)
        vision = self.model.config.vision_config
        pooled = math.ceil(vision.image_size // vision.patch_size / 2)
        self.grid = (pooled, pooled)

    @torch.no_grad()
    def encode(self, frames: np.ndarray | torch.Tensor, times: Sequence[float] | None = None) -> VisualTokens:
        """Visual tokens `[n * tokens_per_frame, hidden]` of frames `[n, H, W, 3]` uint8 RGB (196 a frame at 384 px)."""
        tower = self.model.model.vision_tower
        pixels = pixel_values(frames, self._recipe, device=tower.device, dtype=tower.dtype)
        features = self.as_embeddings(self.model.model.get_video_features(pixels[None]).pooler_output)
        # Some versions of transformers append the newline vector to the features, some do it later: keep the tokens.
        count = len(pixels) * self.tokens_per_frame
        return VisualTokens(features[:count], grid=self.grid, times=relative_times(times, len(pixels)))

    def caption_prompt(self, clip: VisualTokens, memory: Sequence[SelectedTokens], text: str) -> Prompt:
        prefix, suffix = self.chat.around_video(text)
        newline = self.model.model.image_newline.detach()[None].to(clip.embeddings)
        before = [self.embed(prefix)]
        if memory:
            before += [*(slot.embeddings.to(clip.embeddings) for slot in memory), newline]
        start = sum(part.shape[0] for part in before)
        parts = [*before, clip.embeddings, newline, self.embed(suffix)]
        return Prompt(inputs_embeds=torch.cat(parts)[None], columns=slice(start, start + clip.count))
