"""Which attention layers of a model are scored: finding them in any model, and choosing among them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import nn

from rlivs.errors import InputError

# The paper's layers (arXiv 2510.17364, 1-based [5, 9, 14, 20]), 0-based, in a model of 28.
PAPER_LAYERS = (4, 8, 13, 19)
PAPER_DEPTH = 28


def text_decoder(model: nn.Module) -> nn.Module:
    """The module of `model` that holds the decoder layers of its language model, `model` itself if it is one."""
    get_decoder = getattr(model, "get_decoder", None)
    return get_decoder() if get_decoder is not None else model


def decoder_attentions(decoder: nn.Module) -> list[Any]:
    """The self-attention of every decoder layer in order, None for a layer without (linear attention, state space).

    Raises InputError if `decoder` has no stack of decoder layers.
    """
    depth = getattr(getattr(decoder, "config", None), "num_hidden_layers", None)
    for module in decoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            attentions = [_self_attention(layer) for layer in module]
            if any(attention is not None for attention in attentions):
                return attentions
    raise InputError(f"{type(decoder).__name__} has no stack of decoder layers to score; patch a text or video LLM")


def _self_attention(layer: nn.Module) -> Any:
    for module in layer.modules():
        name = type(module).__name__.lower()
        if module is layer or "attention" not in name or getattr(module, "layer_idx", None) is None:
            continue
        if not ("crossattention" in name or getattr(module, "is_cross_attention", False)):
            return module
    return None


def why_not(index: int, attention: Any) -> str | None:
    """What keeps layer `index` from being scored, with the cure, or None if it can be."""
    another = "choose full-attention layers, or layers='auto'"
    if getattr(attention, "is_causal", True) is False:
        return f"layer {index} sees later positions too, and only causal attention is scored; take a decoder"
    if attention is None or getattr(attention, "is_kv_shared_layer", False):
        return f"layer {index} keeps no keys of its own; {another}"
    layer_type = _layer_type(attention)
    if _is_windowed(attention, layer_type):
        return f"layer {index} attends to a sliding window and drops older keys; {another}"
    if any(kind in layer_type for kind in ("sparse", "compressed", "indexed")):
        return f"layer {index} attends only to keys that it chooses itself (sparse attention); {another}"
    forward = inspect.unwrap(type(attention).forward)
    if "ALL_ATTENTION_FUNCTIONS" not in forward.__code__.co_names:
        return (
            f"layer {index}'s {type(attention).__name__} does not use transformers' attention interface, so it "
            "cannot be scored; use the model's own class in transformers (trust_remote_code=False)"
        )
    return None


def _layer_type(attention: Any) -> str:
    """As transformers names it, "" where it has no name."""
    layer_type = getattr(attention, "layer_type", None)
    if layer_type is None:
        layer_types = getattr(getattr(attention, "config", None), "layer_types", None)
        layer_type = layer_types[attention.layer_idx] if layer_types else ""
    return layer_type


def _is_windowed(attention: Any, layer_type: str) -> bool:
    if layer_type:
        return "sliding" in layer_type or "chunked" in layer_type
    window = getattr(getattr(attention, "config", None), "sliding_window", None)
    return bool(getattr(attention, "is_sliding", False) or window)


def choose_layers(layers: str | int | Sequence[int], attentions: Sequence[Any]) -> tuple[int, ...]:
    """Ascending 0-based indices of the layers to score.

    "auto": the paper's relative depths, layer round(d * L / 28) for d in (4, 8, 13, 19) of L layers (halves up), each
    moved to the nearest layer that can be scored (the lower of two), without repeats: [4, 8, 13, 19] of 28,
    [3, 7, 11, 16] of 24. "all": every layer that can be scored. An int or a sequence of ints: exactly these,
    negative ones counted from the end. Raises InputError for one out of range, named twice, or that cannot be scored.
    """
    depth = len(attentions)
    if isinstance(layers, str):
        able = [i for i, attention in enumerate(attentions) if why_not(i, attention) is None]
        if not able:
            raise InputError(f"no layer can be scored: {why_not(0, attentions[0])}")
        if layers == "all":
            return tuple(able)
        if layers == "auto":
            depths = [(2 * d * depth + PAPER_DEPTH) // (2 * PAPER_DEPTH) for d in PAPER_LAYERS]
            return tuple(sorted({min(able, key=lambda i: (abs(i - target), i)) for target in depths}))
        raise InputError(f"layers='{layers}' is unknown; give 'auto', 'all', an index, or a list of indices")

    wanted = [layers] if isinstance(layers, int) else list(layers or ())
    if not wanted:
        raise InputError("layers is empty; give 'auto', 'all', an index, or a list of indices")
    for index in wanted:
        if not isinstance(index, int) or not -depth <= index < depth:
            raise InputError(f"layer {index} is out of range; the model has layers 0 to {depth - 1}")
    chosen = sorted(index % depth for index in wanted)
    for index, following in zip(chosen, [*chosen[1:], None], strict=True):
        if index == following:
            raise InputError(f"layer {index} is named twice; name each layer once")
        reason = why_not(index, attentions[index])
        if reason is not None:
            raise InputError(reason)
    return tuple(chosen)
