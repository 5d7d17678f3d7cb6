"""What a call of `generate` was asked to do, seen from outside while a clip is open."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Generation:
    """prompt_length: positions of the padded prompt. prompt_ids: how many of the returned ids repeat the prompt.

    `embedded`: the prompt came as embeddings, and no positions with it. `padding_id`: what fills up captions that end
    otherwise than by an end-of-sequence token, None where all end by one.
    """

    prompt_length: int
    prompt_ids: int
    num_beams: int
    num_return_sequences: int
    use_cache: bool
    eos_token_ids: tuple[int, ...]
    embedded: bool
    padding_id: int | None
    returned_length: int | None = None
    running: bool = True


def read_generation(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generation:
    """The arguments of `model.generate(*args, **kwargs)`, defaults filled in from the generation configuration."""
    inputs = kwargs.get("inputs", args[0] if args else None)
    ids = kwargs.get("input_ids", inputs)
    embeds, mask = kwargs.get("inputs_embeds"), kwargs.get("attention_mask")
    prompt_ids = int(embeds is None) if ids is None else ids.shape[1]  # without a prompt, generate begins with one id
    # A mask covers cached positions too, where only the new part of a prompt is passed.
    mask = mask if mask is not None and mask.dim() == 2 else None
    prompt = next((x for x in (mask, embeds, ids) if x is not None), None)
    given = kwargs.get("generation_config", args[1] if len(args) > 1 else None)

    def option(name: str, default: Any) -> Any:
        if name in kwargs:
            value = kwargs[name]
        else:
            value = getattr(given, name, None)
            value = getattr(model.generation_config, name, None) if value is None else value
        return default if value is None else value

    eos_token_ids = as_ids(option("eos_token_id", None))
    stops = any(option(name, None) for name in ("stopping_criteria", "stop_strings"))
    # As generate: without an end-of-sequence token nothing is padded, and it stands in for a padding token.
    padding = next(iter(as_ids(option("pad_token_id", None)) or eos_token_ids), None)

    return Generation(
        prompt_length=1 if prompt is None else prompt.shape[1],
        prompt_ids=prompt_ids,
        num_beams=option("num_beams", 1),
        num_return_sequences=option("num_return_sequences", 1),
        use_cache=embeds is not None or option("use_cache", True),
        eos_token_ids=eos_token_ids,
        embedded=embeds is not None and kwargs.get("position_ids") is None,
        padding_id=padding if stops and eos_token_ids else None,
    )


def as_ids(eos_token_id: Any) -> tuple[int, ...]:
    """End-of-sequence ids as transformers writes them (None, an int, a list, a tensor) in one form."""
    if eos_token_id is None:
        return ()
    if isinstance(eos_token_id, torch.Tensor):
        eos_token_id = eos_token_id.reshape(-1).tolist()
    return tuple(eos_token_id) if isinstance(eos_token_id, (list, tuple)) else (int(eos_token_id),)


def returned_ids(out: Any) -> Any:
    """The ids in what generate returns: a tensor, or an output object with `sequences`."""
    return getattr(out, "sequences", out)


@contextmanager
def watched_generate(model: Any, begin: Callable[[Generation], AbstractContextManager[None]]) -> Iterator[None]:
    """While open, `begin` is told of each `model.generate` call, which then runs in the context it returns."""
    original = getattr(model, "generate", None)
    if original is None or getattr(model, "generation_config", None) is None:
        yield
        return

    @functools.wraps(original)
    def generate(*args: Any, **kwargs: Any) -> Any:
        generation = read_generation(model, args, kwargs)
        with begin(generation):
            try:
                out = original(*args, **kwargs)
            finally:
                generation.running = False
        generation.returned_length = returned_ids(out).shape[1]
        return out

    own = vars(model).get("generate")
    model.generate = generate
    try:
        yield
    finally:
        if own is None:
            del model.generate
        else:
            model.generate = own
