"""A checkpoint in memory: weights on their device, tokenizer, chat template, how it wants its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError

from rlivs.backbones.checkpoint import CheckpointFiles
from rlivs.errors import InputError


@dataclass(frozen=True)
class Pretrained:
    """A loaded model in evaluation mode and what a backbone needs beside it.

    `pixel_settings` is what the checkpoint's processor files say about videos.
    """

    name: str
    model: Any
    tokenizer: Any
    chat_template: str
    pixel_settings: Mapping[str, Any]
    eos_token_ids: tuple[int, ...]


def load_pretrained(
    files: CheckpointFiles,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    **options: Any,
) -> Pretrained:
    """Load weights, tokenizer and settings of one checkpoint.

    `options` go to `from_pretrained` (device_map, attn_implementation, quantization_config, ...). Without `device`
    and `device_map` the model goes to the first GPU, or the CPU where there is none; without `dtype` it runs in
    float32 on a CPU, and else keeps the checkpoint's own type. Raises InputError for a checkpoint that is damaged or
    lacks weights, a device that is not there, and `device` given together with `device_map`.
    """
    target = None
    if options.get("device_map") is None:
        target = _usable(device)
    elif device is not None:
        raise InputError("device and device_map were both given; give device for one place, device_map to spread")
    if dtype is None and target is not None and target.type == "cpu":
        dtype = torch.float32
    quantised = options.get("quantization_config") or (files.json("config.json") or {}).get("quantization_config")
    if target is not None and quantised is not None:
        # Quantised weights are made where they stay.
        options["device_map"], target = {"": target}, None
    model = _load_model(files, dtype=dtype or "auto", **options)
    if target is not None:
        model = model.to(target)
    model.eval().requires_grad_(False)
    tokenizer = _load_tokenizer(files)
    return Pretrained(
        name=files.short_name,
        model=model,
        tokenizer=tokenizer,
        chat_template=files.chat_template(tokenizer),
        pixel_settings=files.pixel_settings(),
        eos_token_ids=_eos_token_ids(model, tokenizer),
    )


def _usable(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        target = torch.device(device)
        torch.empty(0, device=target)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise InputError(f"there is no device '{device}' here; leave device out, or use 'cpu'") from None
    return target


def _load_model(files: CheckpointFiles, **options: Any) -> Any:
    from transformers import AutoModelForImageTextToText

    load: Any = AutoModelForImageTextToText.from_pretrained
    try:
        model, report = load(files.name, output_loading_info=True, **files.hub_options, **options)
    except SafetensorError as error:
        raise InputError(
            f"the weights of the model {files.name} are damaged ({_first_line(error)}); fetch the checkpoint again"
        ) from None
    except torch.OutOfMemoryError:
        raise InputError(
            f"the model {files.name} does not fit the device; take a smaller one, a smaller dtype, or device_map='auto'"
        ) from None
    except ImportError as error:
        wanted = _first_line(error).split(". ")[0]
        raise InputError(f"cannot load the model {files.name}: {wanted}; pip install it") from None
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise InputError(f"cannot load the model {files.name}: {_first_line(error)}") from None
    # transformers fills what is missing with random numbers and goes on.
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(
            f"the weights of the model {files.name} lack {len(missing)} tensors, such as {missing[0]}; "
            "fetch the checkpoint again"
        )
    return model


def _load_tokenizer(files: CheckpointFiles) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(files.name, **files.hub_options)
    except Exception as error:  # a damaged tokenizer.json raises a bare Exception
        raise InputError(
            f"the tokenizer of the model {files.name} is damaged ({_first_line(error)}); fetch the checkpoint again"
        ) from None


def _eos_token_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    configured = model.generation_config.eos_token_id
    if configured is None:
        configured = tokenizer.eos_token_id
    if configured is None:
        raise InputError("the model names no end-of-sequence token; set eos_token_id in its generation_config.json")
    return tuple(configured) if isinstance(configured, (list, tuple)) else (int(configured),)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
