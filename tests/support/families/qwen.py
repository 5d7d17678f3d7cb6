"""What the Qwen families have in common: tokens, template, pixels cut into patches, positions on three axes."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from families.family import CHANNELS, FRAMES_PER_SECOND, RECIPE, TEXT, text_options
from rlivs.backbones.patches import cut_patches
from rlivs.backbones.preprocessing import normalise, resize

TEMPLATE = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% for message in messages %}<|im_start|>user\n"
    "{% for part in message['content'] %}{% if part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BOUNDED = {**CHANNELS, "resample": 3, "size": {"shortest_edge": 3136, "longest_edge": 12845056}}
VISUAL_TOKEN = "<|video_pad|>"
TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", VISUAL_TOKEN)
# Rows and columns of a pair of frames at six tokens a frame, which is what the tests set the budget to.
TOKENS_PER_FRAME = 6
GRID = (3, 4)


def mrope_options(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    return {**text_options(tokenizer), "rope_parameters": rope}


def token_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": VISUAL_TOKEN,
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {option: tokenizer.convert_tokens_to_ids(name) for option, name in names.items()}


def spell_turns(video: str) -> str:
    return (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        f"<|im_start|>user\n{video}{TEXT}<|im_end|>\n<|im_start|>assistant\n"
    )


def spell(count: int) -> str:
    """All pairs of frames in one pair of brackets."""
    return spell_turns(f"<|vision_start|>{VISUAL_TOKEN * (12 * -(-count // 2))}<|vision_end|>")


def spell_with_times(count: int) -> str:
    """Each pair of frames in brackets of its own, behind the seconds of its middle."""
    video = ""
    for first in range(0, count, 2):
        last = min(first + 1, count - 1)
        seconds = (first + last) / 2 / FRAMES_PER_SECOND
        video += f"<{seconds:.1f} seconds><|vision_start|>{VISUAL_TOKEN * 12}<|vision_end|>"
    return spell_turns(video)


def hub_pixels(images: torch.Tensor, visual: torch.Tensor) -> dict[str, torch.Tensor]:
    rows, columns = GRID
    patches, shape = cut_patches(normalise(resize(images, 8 * rows, 8 * columns), RECIPE), 4, 2, 2)
    return {
        "pixel_values_videos": patches,
        "video_grid_thw": torch.tensor([shape]),
        "mm_token_type_ids": 2 * visual.int(),
    }
