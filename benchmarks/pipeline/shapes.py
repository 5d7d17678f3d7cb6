"""The models whose shapes are timed, from their published configurations, and the work they are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_QWEN2_7B = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
}
_QWEN2_05B = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
}
_ROPE = {"rope_type": "default", "rope_theta": 1_000_000.0}
_SIGLIP = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 26,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
    "vision_use_head": False,
}
_QWEN25_VISION = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "out_hidden_size": 3584,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
    "tokens_per_second": 2,
}
_TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "initializer_range": 0.3,
}


@dataclass(frozen=True)
class Model:
    """One configuration: `family` is its model type, `text` and `vision` what its config.json says of the two parts.

    `pixels` is the side of the square its frames are resized to; None for a family that takes any size.
    """

    name: str
    family: str
    text: dict[str, Any]
    vision: dict[str, Any]
    pixels: int | None


MODELS = (
    Model(
        "llava-onevision-7b",
        "llava_onevision",
        {"model_type": "qwen2", "vocab_size": 152000, "rope_parameters": _ROPE, **_QWEN2_7B},
        _SIGLIP,
        384,
    ),
    Model(
        "llava-onevision-0.5b",
        "llava_onevision",
        {"model_type": "qwen2", "vocab_size": 152000, "rope_parameters": _ROPE, **_QWEN2_05B},
        _SIGLIP,
        384,
    ),
    Model(
        "qwen2.5-vl-7b",
        "qwen2_5_vl",
        {
            **_QWEN2_7B,
            "vocab_size": 152064,
            "max_position_embeddings": 128000,
            "rope_parameters": {**_ROPE, "mrope_section": [16, 24, 24]},
        },
        _QWEN25_VISION,
        None,
    ),
)
# The same code at a size that a CPU runs in seconds; its figures mean nothing.
TOYS = (
    Model(
        "toy llava-onevision",
        "llava_onevision",
        {"model_type": "qwen2", "vocab_size": 512, "rope_parameters": _ROPE, "tie_word_embeddings": False, **_TINY},
        {
            **_SIGLIP,
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 35,
            "patch_size": 7,
        },
        35,
    ),
    Model(
        "toy qwen2.5-vl",
        "qwen2_5_vl",
        {**_TINY, "vocab_size": 512, "rope_parameters": {**_ROPE, "mrope_section": [2, 2, 4]}},
        {
            **_QWEN25_VISION,
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 64,
            "patch_size": 4,
            "window_size": 16,
            "fullatt_block_indexes": [1],
        },
        None,
    ),
)


@dataclass(frozen=True)
class Work:
    """One clip with memory full and its caption, and ReKV's protocol for questions about an hour of video behind."""

    frames: int = 16
    slots: int = 16
    caption_tokens: int = 128
    height: int = 360
    width: int = 640
    film_rate: int = 25
    fps: float = 0.5
    hours: float = 1.0
    questions: int = 100
    question_tokens: int = 64
    answer_tokens: int = 128
    context_tokens: int = 10_000

    @property
    def captions(self) -> int:
        """How many clips the hours behind make."""
        return int(self.hours * 3600 * self.fps / self.frames)


FULL = Work()
TOY = Work(
    frames=4,
    slots=2,
    caption_tokens=8,
    height=36,
    width=64,
    film_rate=2,
    fps=1.0,
    hours=0.02,
    questions=3,
    question_tokens=24,
    answer_tokens=6,
    context_tokens=300,
)
