"""A trained model as a directory that `from_pretrained` loads offline."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.quality.world import tokens

from .model import FRAME_SIZE

PIXELS = {
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"height": FRAME_SIZE, "width": FRAME_SIZE},
}


def export(model: nn.Module, state: dict[str, Tensor], directory: Path) -> None:
    """Write the model's config, `state` as bfloat16 weights, tokenizer, chat template and preprocessing settings.

    The weights were trained under bfloat16 autocast, so rounding them costs next to nothing; the config asks
    for float32, so that a CPU computes in it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().to(torch.bfloat16).contiguous() for name, value in state.items()}
    save_file(weights, str(directory / "model.safetensors"), metadata={"format": "pt"})
    (directory / "model.safetensors").chmod(0o644)  # safetensors writes files that only their owner may read
    config = model.config.to_dict()
    config["architectures"] = [type(model).__name__]
    for part in (config, config["text_config"], config["vision_config"]):
        part["dtype"] = "float32"
        part.pop("transformers_version", None)
        part.pop("_name_or_path", None)
    _write(directory / "config.json", config)
    text = model.config.text_config
    _write(
        directory / "generation_config.json",
        {"do_sample": False, "eos_token_id": text.eos_token_id, "pad_token_id": text.pad_token_id},
    )
    image = {"image_processor_type": "LlavaOnevisionImageProcessor", "image_grid_pinpoints": [[FRAME_SIZE] * 2]}
    _write(directory / "preprocessor_config.json", PIXELS | image)
    video = {"video_processor_type": "LlavaOnevisionVideoProcessor"}
    _write(directory / "video_preprocessor_config.json", PIXELS | video)
    tokens.save(directory)


def _write(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
