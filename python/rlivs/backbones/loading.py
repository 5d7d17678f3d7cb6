"""From a checkpoint's name to its backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rlivs.backbones.checkpoint import HUB_OPTIONS, CheckpointFiles
from rlivs.backbones.gemma4 import Gemma4
from rlivs.backbones.glm4v import Glm4v, Glm46V
from rlivs.backbones.internvl import InternVL
from rlivs.backbones.llava_next_video import LlavaNextVideo
from rlivs.backbones.llava_onevision import LlavaOnevision
from rlivs.backbones.minicpmv4_6 import MiniCPMV46
from rlivs.backbones.perception_lm import PerceptionLM
from rlivs.backbones.pretrained import load_pretrained
from rlivs.backbones.protocol import Backbone
from rlivs.backbones.qwen2_5_vl import Qwen25VL
from rlivs.backbones.qwen2_vl import Qwen2VL
from rlivs.backbones.qwen3_5 import Qwen35
from rlivs.backbones.qwen3_vl import Qwen3VL
from rlivs.backbones.smolvlm import SmolVLM
from rlivs.backbones.video_llama_3 import VideoLlama3
from rlivs.errors import InputError

# model_type in config.json -> what makes its backbone from a loaded checkpoint
FAMILIES: dict[str, type[Any]] = {
    "gemma4": Gemma4,
    "glm46v": Glm46V,
    "glm4v": Glm4v,
    "glm4v_moe": Glm4v,
    "internvl": InternVL,
    "llava_next_video": LlavaNextVideo,
    "llava_onevision": LlavaOnevision,
    "minicpmv4_6": MiniCPMV46,
    "perception_lm": PerceptionLM,
    "qwen2_5_vl": Qwen25VL,
    "qwen2_vl": Qwen2VL,
    "qwen3_5": Qwen35,
    "qwen3_5_moe": Qwen35,
    "qwen3_vl": Qwen3VL,
    "qwen3_vl_moe": Qwen3VL,
    "smolvlm": SmolVLM,
    "video_llama_3": VideoLlama3,
}


def load_backbone(
    name: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    **options: Any,
) -> Backbone:
    """The backbone of a checkpoint directory, a hub name, or `tiny-onevision`. See `load_pretrained` for options.

    Raises InputError for an unknown family or an incomplete checkpoint.
    """
    files = CheckpointFiles(name, **{key: options.pop(key) for key in HUB_OPTIONS if key in options})
    family = find_family(files.model_type())
    return family(load_pretrained(files, device=device, dtype=dtype, **options))


def find_family(model_type: str) -> type[Any]:
    """The backbone class for a model type. Raises InputError, naming the known types, for any other."""
    if model_type not in FAMILIES:
        raise InputError(
            f"no backbone for model type '{model_type}'; the known ones are: {', '.join(sorted(FAMILIES))}; another "
            "one is a class with encode, caption_prompt and text_prompt (docs/add-a-backbone.md)"
        )
    return FAMILIES[model_type]
