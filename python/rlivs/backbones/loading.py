"""From a checkpoint's name to its backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rlivs.backbones.checkpoint import load_checkpoint, read_model_type, resolve
from rlivs.backbones.llava_onevision import LlavaOnevision
from rlivs.backbones.protocol import Backbone
from rlivs.errors import InputError

# model type in config.json -> (class in transformers, backbone)
FAMILIES: dict[str, tuple[str, type]] = {
    LlavaOnevision.model_type: ("LlavaOnevisionForConditionalGeneration", LlavaOnevision),
}


def load_backbone(
    name: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    **options: Any,
) -> Backbone:
    """The backbone of a checkpoint directory, a hub name, or `tiny-onevision`. See `load_checkpoint` for options.

    Raises InputError for an unknown family or an incomplete checkpoint.
    """
    import transformers

    resolved = resolve(name)
    model_type = read_model_type(resolved)
    if model_type not in FAMILIES:
        raise InputError(
            f"no backbone for model type '{model_type}'; the known ones are: {', '.join(sorted(FAMILIES))}"
        )
    class_name, backbone = FAMILIES[model_type]
    checkpoint = load_checkpoint(resolved, getattr(transformers, class_name), device=device, dtype=dtype, **options)
    return backbone(checkpoint)
