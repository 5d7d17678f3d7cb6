"""What the tests know of a model family: a model of random weights, and its prompt and pixels as the hub has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from rlivs.backbones.preprocessing import PixelRecipe

TEXT = "Describe what's happening in the video."
FRAMES_PER_SECOND = 2
FRAME = (30, 40)  # height and width in pixels
CHANNELS = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.25, 0.2]}
NORMALISED = {**CHANNELS, "resample": 3}
SQUARE = {**NORMALISED, "size": {"height": 28, "width": 28}}
RECIPE = PixelRecipe(height=28, width=28, mean=tuple(CHANNELS["image_mean"]), std=tuple(CHANNELS["image_std"]))
TOWER = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


@dataclass(frozen=True)
class Family:
    """`spell(count)` is the whole prompt of `count` frames and `TEXT` as the hub's processor writes it, a
    `visual_token` for each visual token; `hub_pixels(images, visual)` what the model is fed beside its ids, from images
    `[count, 3, *FRAME]` uint8 and which of the ids `[1, S]` are visual. Frames come at `FRAMES_PER_SECOND`.

    `special` tokens are known to the tokenizer only; `pixels` is the settings file of the processor.
    """

    special: Sequence[str]
    make_model: Callable[[PreTrainedTokenizerFast], PreTrainedModel]
    template: str
    pixels: Mapping[str, Any]
    visual_token: str
    spell: Callable[[int], str]
    hub_pixels: Callable[[torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]


def text_options(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """A language model of two layers for the tokenizer."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        # Small weights leave all tokens about equally likely; these give captions that differ from prompt to prompt.
        "initializer_range": 0.3,
    }
