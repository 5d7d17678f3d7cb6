"""Qwen2.5-VL: Qwen2-VL with a windowed vision tower, and positions that follow the seconds."""

from __future__ import annotations

from rlivs.backbones.protocol import VisualTokens
from rlivs.backbones.qwen2_vl import Qwen2VL


class Qwen25VL(Qwen2VL):
    """The Qwen2.5-VL family, model type `qwen2_5_vl`: `tokens_per_second` positions a second on the axis of time."""

    def time_interval(self, clip: VisualTokens) -> float:
        seconds_per_step = 1.0
        if len(clip.times) > 1:
            seconds_per_step = clip.times[-1] / (len(clip.times) - 1) * self._tower.frames_per_step
        return self.model.config.vision_config.tokens_per_second * seconds_per_step
