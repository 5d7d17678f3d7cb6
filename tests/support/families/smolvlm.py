"""SmolVLM2: four tokens a frame, the number of frames in words and the time before each."""

from __future__ import annotations

from datetime import timedelta

from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

from families.family import FRAMES_PER_SECOND, RECIPE, SQUARE, TEXT, TOWER, Family, text_options
from rlivs.backbones.preprocessing import normalise, resize

AROUND = "<fake_token_around_image>"
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}: "
    "{% for part in message['content'] %}{% if part['type'] == 'video' %}<video>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def _make_model(tokenizer):
    config = SmolVLMConfig(
        text_config={"model_type": "llama", **text_options(tokenizer)},
        vision_config={"model_type": "smolvlm_vision", "image_size": 28, "patch_size": 7, **TOWER},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    return SmolVLMForConditionalGeneration(config)


def _spell(count):
    words = {1: "one", 3: "three", 4: "four"}[count]
    seconds = int((count - 1) / FRAMES_PER_SECOND)
    video = (
        f"You are provided the following series of {words} frames from a {timedelta(seconds=seconds)} "
        "[H:MM:SS] video.\n"
    )
    for i in range(count):
        video += f"\nFrame from 00:{i // FRAMES_PER_SECOND:02d}:{AROUND}<global-img>{'<image>' * 4}{AROUND}"
    return f"<|im_start|>User: {video}\n\n{TEXT}<|im_end|>\nAssistant:"


FAMILY = Family(
    special=("<image>", AROUND, "<global-img>"),  # no <video>, as on the hub
    make_model=_make_model,
    template=TEMPLATE,
    pixels=SQUARE,
    visual_token="<image>",
    spell=_spell,
    hub_pixels=lambda images, visual: {"pixel_values": normalise(resize(images, 28, 28), RECIPE)[None]},
)
