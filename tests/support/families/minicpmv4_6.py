"""MiniCPM-V 4.6: six tokens a frame in brackets; merged after the first layer of the tower, and behind the last."""

from __future__ import annotations

import torch
from transformers import MiniCPMV4_6Config, MiniCPMV4_6ForConditionalGeneration

from families.family import CHANNELS, RECIPE, TEXT, TOWER, Family
from families.qwen3_5 import hybrid_options
from rlivs.backbones.preprocessing import normalise, resize

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}{% set lines = namespace(all=[]) %}"
    "{% for part in message['content'] %}{% if part['type'] == 'video' %}"
    "{% set lines.all = lines.all + ['<|video_pad|>'] %}{% else %}{% set lines.all = lines.all + [part['text']] %}"
    "{% endif %}{% endfor %}{{ lines.all | join('\n') | trim + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}"
    "{% if not enable_thinking %}{{ '\n</think>\n\n' }}{% endif %}{% endif %}"
)
PATCH, MERGED = 4, 4
ROWS, COLUMNS = 2, 3  # of the tokens of a frame


def _make_model(tokenizer):
    config = MiniCPMV4_6Config(
        text_config={"model_type": "qwen3_5_text", **hybrid_options(tokenizer)},
        vision_config={"image_size": 28, "patch_size": PATCH, **TOWER},
        insert_layer_id=0,
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        tie_word_embeddings=False,
    )
    return MiniCPMV4_6ForConditionalGeneration(config)


def _spell(count: int) -> str:
    video = f"<image>{'<|video_pad|>' * (ROWS * COLUMNS)}</image>" * count
    return f"<|im_start|>user\n{video}\n{TEXT}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def _hub_pixels(images: torch.Tensor, visual: torch.Tensor) -> dict[str, torch.Tensor]:
    rows, columns = ROWS * MERGED, COLUMNS * MERGED
    pixels = normalise(resize(images, rows * PATCH, columns * PATCH), RECIPE)
    patches = [
        frame[:, row * PATCH :, column * PATCH :][:, :PATCH, :PATCH]
        for frame in pixels
        for row in range(rows)
        for column in range(columns)
    ]
    return {
        "pixel_values_videos": torch.cat(patches, dim=-1)[None],
        "target_sizes_videos": torch.tensor([[rows, columns]] * len(images), dtype=torch.int32),
    }


FAMILY = Family(
    special=("<|image_pad|>", "<|video_pad|>", "<image>", "</image>"),
    make_model=_make_model,
    template=TEMPLATE,
    pixels={"video_processor": {**CHANNELS, "resample": 3, "scale_resolution": 40, "patch_size": PATCH}},
    visual_token="<|video_pad|>",
    spell=_spell,
    hub_pixels=_hub_pixels,
)
