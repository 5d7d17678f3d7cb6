"""SmolVLM2: a SigLIP tower, pixel shuffle, a SmolLM2 language model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import torch

from rlivs.backbones.interleaved import InterleavedBackbone, minutes_and_seconds
from rlivs.backbones.loaded import relative_times
from rlivs.backbones.preprocessing import PixelRecipe, pixel_values
from rlivs.backbones.pretrained import Pretrained
from rlivs.backbones.protocol import VisualTokens

_SMALL = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


class SmolVLM(InterleavedBackbone):
    """The SmolVLM2 family, model type `smolvlm`. Frames are resized straight to the tower's square."""

    placeholder = "<video>"
    image_token = "<image>"
    brackets = ("<fake_token_around_image><global-img>", "<fake_token_around_image>")
    reserved = (image_token, "<fake_token_around_image>", "<global-img>")

    def __init__(self, pretrained: Pretrained) -> None:
        super().__init__(pretrained)
        vision = self.model.config.vision_config
        self._recipe = PixelRecipe.of({**pretrained.pixel_settings, "size": vision.image_size})
        side = vision.image_size // vision.patch_size // self.model.config.scale_factor
        self.grid = (side, side)

    @torch.no_grad()
    def encode(self, frames: np.ndarray | torch.Tensor, times: Sequence[float] | None = None) -> VisualTokens:
        """Visual tokens `[n * tokens_per_frame, hidden]` of frames `[n, H, W, 3]` uint8 RGB (64 a frame at 512 px)."""
        tower = self.model.model.vision_model
        pixels = pixel_values(frames, self._recipe, device=tower.device, dtype=tower.dtype)
        features = self.model.model.get_image_features(pixels[None]).pooler_output
        return VisualTokens(
            self.as_embeddings(torch.cat(list(features))), self.grid, times=relative_times(times, len(pixels))
        )

    def write_clip(self, clip: VisualTokens) -> str:
        picture = self.write_picture(self.tokens_per_frame)
        duration = timedelta(seconds=int(clip.times[-1]))
        intro = (
            f"You are provided the following series of {number_in_words(clip.steps)} frames "
            f"from a {duration} [H:MM:SS] video.\n"
        )
        frames = (f"\nFrame from {minutes_and_seconds(time)}:{picture}" for time in clip.times)
        return intro + "".join(frames) + "\n\n"


def number_in_words(number: int) -> str:
    """A number from 0 to 999,999 in English words: 21 is twenty-one, 116 is one hundred and sixteen."""
    if number < 20:
        return _SMALL[number]
    if number < 100:
        return _TENS[number // 10] + (f"-{_SMALL[number % 10]}" if number % 10 else "")
    if number < 1000:
        rest = f" and {number_in_words(number % 100)}" if number % 100 else ""
        return f"{_SMALL[number // 100]} hundred{rest}"
    joint = " and " if number % 1000 < 100 else ", "
    rest = joint + number_in_words(number % 1000) if number % 1000 else ""
    return f"{number_in_words(number // 1000)} thousand{rest}"
