"""GLM-4.1V, GLM-4.5V and GLM-4.6V: a time behind each step, M-RoPE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rlivs.backbones.pretrained import Pretrained
from rlivs.backbones.protocol import VisualTokens
from rlivs.backbones.stepwise import StepwiseBackbone

START, END = "<|begin_of_video|>", "<|end_of_video|>"
# What the settings of a checkpoint may name; the first that is there says how times are written.
NAMES = ("processor_class", "video_processor_type", "image_processor_type")


class Glm4v(StepwiseBackbone):
    """The GLM-4V families, model types `glm4v` and `glm4v_moe`.

    Inside the brackets around a video each step is a picture, and the time of its first frame stands behind it: in
    whole seconds, or, where the checkpoint names a processor of GLM-4.6V (as GLM-4.6V-Flash does, whose model type is
    `glm4v`), in tenths and with the word. Memory is a picture before the video.
    """

    placeholder = f"{START}<|video|>{END}"
    image_token = "<|image|>"
    brackets = ("<|begin_of_image|>", "<|end_of_image|>")
    reserved = (image_token, *brackets, "<|video|>", START, END)
    processor: ClassVar[str] = "Glm4vProcessor"

    def __init__(self, pretrained: Pretrained) -> None:
        super().__init__(pretrained)
        named = (pretrained.pixel_settings[name] for name in NAMES if name in pretrained.pixel_settings)
        self._tenths = str(next(named, self.processor)).startswith("Glm46V")

    def write_clip(self, clip: VisualTokens) -> str:
        return f"{START}{super().write_clip(clip)}{END}"

    def write_step(self, picture: str, times: Sequence[float]) -> str:
        return f"{picture}{times[0]:.1f} seconds" if self._tenths else f"{picture}{int(times[0])}"


class Glm46V(Glm4v):
    """GLM-4.6V as transformers names it, model type `glm46v`."""

    processor = "Glm46VProcessor"
