"""Qwen3.5: the prompt of Qwen3-VL, a language model that attends in one layer of four and has a state in the others."""

from __future__ import annotations

from rlivs.backbones.qwen3_vl import TimedQwen


class Qwen35(TimedQwen):
    """The Qwen3.5 families, model types `qwen3_5` and `qwen3_5_moe`.

    The tower has no deepstack. Layers of linear attention keep no keys, so the others are scored.
    """
