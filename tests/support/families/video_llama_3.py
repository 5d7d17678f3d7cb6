"""VideoLLaMA3: six tokens a frame behind its time, all of them kept."""

from __future__ import annotations

import torch
from transformers import VideoLlama3Config, VideoLlama3ForConditionalGeneration

from families.family import CHANNELS, FRAMES_PER_SECOND, RECIPE, TEXT, TOWER, Family, text_options
from rlivs.backbones.patches import cut_patches
from rlivs.backbones.preprocessing import normalise, resize

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}{{ '<|video_pad|>\n' }}{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PIXELS = {**CHANNELS, "resample": 3, "size": {"shortest_edge": 12544, "longest_edge": 12845056}}
ROWS, COLUMNS = 2, 3  # of the tokens of a frame
PATCH, MERGE = 4, 2


def _make_model(tokenizer):
    config = VideoLlama3Config(
        text_config={"model_type": "qwen2", **text_options(tokenizer)},
        vision_config={"patch_size": PATCH, **TOWER},
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        tie_word_embeddings=False,
    )
    return VideoLlama3ForConditionalGeneration(config)


def _spell(count: int) -> str:
    frames = (f"Time {i / FRAMES_PER_SECOND:.1f}s:{'<|video_pad|>' * (ROWS * COLUMNS)}" for i in range(count))
    return f"<|im_start|>user\n{','.join(frames)}\n{TEXT}<|im_end|>\n<|im_start|>assistant\n"


def _hub_pixels(images: torch.Tensor, visual: torch.Tensor) -> dict[str, torch.Tensor]:
    pixels = normalise(resize(images, ROWS * PATCH * MERGE, COLUMNS * PATCH * MERGE), RECIPE)
    patches, shape = cut_patches(pixels, PATCH, MERGE, 1)
    return {
        "pixel_values_videos": patches,
        "video_grid_thw": torch.tensor([shape]),
        "video_merge_sizes": torch.tensor([MERGE]),
        "video_compression_mask": torch.ones(len(images) * ROWS * COLUMNS, dtype=torch.bool),
    }


FAMILY = Family(
    special=("<|image_pad|>", "<|video_pad|>"),
    make_model=_make_model,
    template=TEMPLATE,
    pixels={"image_processor": {**PIXELS, "merge_size": 1}, "video_processor": {**PIXELS, "merge_size": MERGE}},
    visual_token="<|video_pad|>",
    spell=_spell,
    hub_pixels=_hub_pixels,
)
