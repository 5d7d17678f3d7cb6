"""LLaVA-NeXT-Video: a crop from the middle, four tokens a frame."""

from __future__ import annotations

from transformers import LlavaNextVideoConfig, LlavaNextVideoForConditionalGeneration

from families.family import NORMALISED, RECIPE, TEXT, TOWER, Family, text_options
from rlivs.backbones.preprocessing import normalise, resize

TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'video' %}{{ '<video>\n' }}{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] + ' ' }}{% endif %}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def _make_model(tokenizer):
    config = LlavaNextVideoConfig(
        text_config={"model_type": "llama", **text_options(tokenizer)},
        vision_config={"model_type": "clip_vision_model", "image_size": 28, "patch_size": 7, **TOWER},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[28, 28]],
        image_seq_length=16,
        tie_word_embeddings=False,
    )
    return LlavaNextVideoForConditionalGeneration(config)


def _hub_pixels(images, visual):
    cropped = resize(images, 28, 37)[..., 4:32]
    return {"pixel_values_videos": normalise(cropped, RECIPE)[None]}


FAMILY = Family(
    special=("<image>", "<video>"),
    make_model=_make_model,
    template=TEMPLATE,
    pixels={**NORMALISED, "size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}},
    visual_token="<video>",
    spell=lambda count: f"USER: {'<video>' * (4 * count)}\n{TEXT} ASSISTANT:",
    hub_pixels=_hub_pixels,
)
