"""Reading a checkpoint directory (or hub name): weights, tokenizer, chat template and how it wants its pixels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from rlivs.backbones.preprocessing import PixelRecipe
from rlivs.errors import InputError

EMBEDDED = "tiny-onevision"
PROCESSOR_FILES = ("video_preprocessor_config.json", "processor_config.json", "preprocessor_config.json")


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model in evaluation mode and what a backbone needs beside it."""

    name: str
    model: Any
    tokenizer: Any
    chat_template: str | None
    pixel_recipe: PixelRecipe
    eos_token_ids: tuple[int, ...]


def embedded_checkpoint() -> Path:
    """The directory of the small checkpoint that ships with the package."""
    return Path(__file__).resolve().parents[1] / "assets" / EMBEDDED


def resolve(name: str | Path) -> str:
    """A model name as `from_pretrained` takes it; `tiny-onevision` is the embedded checkpoint."""
    if str(name) == EMBEDDED:
        return str(embedded_checkpoint())
    return str(name)


def read_model_type(name: str) -> str:
    """The model type in the checkpoint's config.json. Raises InputError when there is none to read."""
    path = Path(name)
    if path.exists() and not path.is_dir():
        raise InputError(f"{name} is a file; give the directory of a Hugging Face checkpoint")
    if path.is_dir():
        _require_complete(path)
    elif name.startswith((".", "/", "~")):
        raise InputError(f"no model directory {name}; give an existing one, a hub name, or '{EMBEDDED}'")
    config = _read_json(name, "config.json")
    if config is None:
        raise InputError(
            f"no model '{name}' here or on the hub; give a checkpoint directory, a hub name, or '{EMBEDDED}'"
        )
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise InputError(f"{name}/config.json names no model_type; it is not a Hugging Face checkpoint")
    return model_type


def load_checkpoint(
    name: str,
    model_class: Any,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    **options: Any,
) -> Checkpoint:
    """Load weights, tokenizer and settings of one checkpoint.

    `options` go to `from_pretrained` (device_map, attn_implementation, quantization_config, ...). Without `device`
    and `device_map` the model goes to the first GPU, or the CPU where there is none; without `dtype` it keeps the
    checkpoint's own type on a GPU and runs in float32 on a CPU. Raises InputError for an incomplete checkpoint.
    """
    from transformers import AutoTokenizer

    placed = device is not None or "device_map" in options
    target = torch.device(device if device is not None else ("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        model = model_class.from_pretrained(
            name, dtype=dtype or ("auto" if target.type != "cpu" else torch.float32), **options
        )
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError, json.JSONDecodeError) as error:
        raise InputError(f"cannot load the model {name}: {_first_line(error)}; fetch the checkpoint again") from None
    if "device_map" not in options or (placed and device is not None):
        model = model.to(target)
    model.eval().requires_grad_(False)
    return Checkpoint(
        name=Path(name).name if Path(name).is_dir() else name,
        model=model,
        tokenizer=tokenizer,
        chat_template=_chat_template(name, tokenizer),
        pixel_recipe=_pixel_recipe(name),
        eos_token_ids=_eos_token_ids(model, tokenizer),
    )


def _require_complete(directory: Path) -> None:
    weights = [*directory.glob("*.safetensors"), *directory.glob("*.bin")]
    missing = [name for name in ("config.json", "tokenizer_config.json") if not (directory / name).is_file()]
    if not weights:
        missing.append("model.safetensors")
    if not any((directory / name).is_file() for name in ("tokenizer.json", "vocab.json", "tokenizer.model")):
        missing.append("tokenizer.json")
    if not any((directory / name).is_file() for name in PROCESSOR_FILES):
        missing.append("preprocessor_config.json")
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        missing += [shard for shard in shards if not (directory / shard).is_file()]
    if missing:
        raise InputError(
            f"the model directory {directory} is incomplete: no {', '.join(missing)}; copy the whole checkpoint"
        )


def _read_json(name: str, filename: str) -> dict[str, Any] | None:
    text = _read_text(name, filename)
    if text is None:
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise InputError(f"{filename} of the model {name} is not valid JSON; fetch the checkpoint again") from None


def _read_text(name: str, filename: str) -> str | None:
    directory = Path(name)
    if directory.is_dir():
        path = directory / filename
    else:
        from transformers.utils import cached_file

        try:
            found = cached_file(
                name,
                filename,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
            )
        except (OSError, ValueError):
            return None
        if found is None:
            return None
        path = Path(found)
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _chat_template(name: str, tokenizer: Any) -> str | None:
    """The processor's template if the checkpoint has one (it knows about video), else the tokenizer's own."""
    template = _read_text(name, "chat_template.jinja")
    if template is None:
        template = (_read_json(name, "chat_template.json") or {}).get("chat_template")
    if template is None:
        template = tokenizer.chat_template
    if template is None:
        raise InputError(f"the model {name} has no chat template; add its chat_template.jinja")
    return template


def _pixel_recipe(name: str) -> PixelRecipe:
    for filename in PROCESSOR_FILES:
        settings = _read_json(name, filename)
        if settings is None:
            continue
        settings = settings.get("video_processor", settings)
        if "image_mean" not in settings or "size" not in settings:
            continue
        size = settings["size"]
        if isinstance(size, int):
            size = {"height": size, "width": size}
        if "height" not in size:
            side = size.get("shortest_edge", size.get("longest_edge"))
            size = {"height": side, "width": side}
        return PixelRecipe(
            height=int(size["height"]),
            width=int(size["width"]),
            mean=tuple(settings["image_mean"]),
            std=tuple(settings["image_std"]),
            rescale=float(settings.get("rescale_factor", 1 / 255)),
        )
    raise InputError(
        f"the model {name} has no preprocessor_config.json with image_mean and size; copy the whole checkpoint"
    )


def _eos_token_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    configured = model.generation_config.eos_token_id
    if configured is None:
        configured = tokenizer.eos_token_id
    if configured is None:
        raise InputError("the model names no end-of-sequence token; set eos_token_id in generation_config.json")
    return tuple(configured) if isinstance(configured, (list, tuple)) else (int(configured),)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
