"""LLaVA-NeXT-Video: a CLIP tower, pooling of 2x2 patches, a Llama or Mistral language model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rlivs.backbones.loaded import LoadedBackbone, relative_times
from rlivs.backbones.preprocessing import PixelRecipe, centre_crop, channels_first, normalise, resize_to_cover
from rlivs.backbones.pretrained import Pretrained
from rlivs.backbones.protocol import Prompt, VisualTokens
from rlivs.memory.visual import SelectedTokens


class LlavaNextVideo(LoadedBackbone):
    """The LLaVA-NeXT-Video family, model type `llava_next_video`; a prompt is `[prefix | memory | clip | suffix]`."""

    placeholder = "<video>"
    add_special_tokens = True

    def __init__(self, pretrained: Pretrained) -> None:
        super().__init__(pretrained)
        settings = pretrained.pixel_settings
        self._recipe = PixelRecipe.of({**settings, "size": settings.get("crop_size", settings["size"])})
        vision = self.model.config.vision_config
        side = vision.image_size // vision.patch_size // self.model.config.spatial_pool_stride
        self.grid = (side, side)

    @torch.no_grad()
    def encode(self, frames: np.ndarray | torch.Tensor, times: Sequence[float] | None = None) -> VisualTokens:
        """Visual tokens `[n * tokens_per_frame, hidden]` of the middle of frames (144 a frame at 336 px)."""
        tower = self.model.model.vision_tower
        height, width = self._recipe.height, self._recipe.width
        images = resize_to_cover(channels_first(frames, tower.device), height, width, self._recipe.filter)
        pixels = normalise(centre_crop(images, height, width), self._recipe).to(tower.dtype)
        features = self.model.model.get_video_features(pixels[None]).pooler_output
        if not isinstance(features, torch.Tensor):
            features = torch.cat(list(features))
        return VisualTokens(self.as_embeddings(features), self.grid, times=relative_times(times, len(pixels)))

    def caption_prompt(self, clip: VisualTokens, memory: Sequence[SelectedTokens], text: str) -> Prompt:
        prefix, suffix = self.chat.around_video(text)
        before = [self.embed(prefix), *(slot.embeddings.to(clip.embeddings) for slot in memory)]
        start = sum(part.shape[0] for part in before)
        parts = [*before, clip.embeddings, self.embed(suffix)]
        return Prompt(inputs_embeds=torch.cat(parts)[None], columns=slice(start, start + clip.count))
