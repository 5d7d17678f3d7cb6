"""GLM-4.1V: each pair of frames is a picture in front of its time, whole seconds; what the other two share with it."""

from __future__ import annotations

from typing import Any

from transformers import Glm4vConfig, Glm4vForConditionalGeneration, PreTrainedTokenizerFast

from families import qwen
from families.family import FRAMES_PER_SECOND, TEXT, Family, text_options

TEMPLATE = (
    "[gMASK]<sop>{% for message in messages %}<|user|>\n"
    "{% for part in message['content'] %}{% if part['type'] == 'video' %}<|begin_of_video|><|video|><|end_of_video|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
VISUAL_TOKEN = "<|image|>"
TOKENS = (
    "[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>",
    "<|end_of_video|>", VISUAL_TOKEN, "<|video|>",
)  # fmt: skip
TOWER = {
    "hidden_size": 16,
    "out_hidden_size": 32,
    "intermediate_size": 32,
    "depth": 2,
    "num_heads": 2,
    "image_size": 16,
    "patch_size": 4,
    "initializer_range": 0.1,
}


def glm_options(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """A language model that rotates three quarters of a head: one frequency of each axis."""
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 1], "partial_rotary_factor": 0.75}
    return {**text_options(tokenizer), "rope_parameters": rope}


def token_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    names = {
        "image_token_id": VISUAL_TOKEN,
        "video_token_id": "<|video|>",
        "image_start_token_id": "<|begin_of_image|>",
        "image_end_token_id": "<|end_of_image|>",
        "video_start_token_id": "<|begin_of_video|>",
        "video_end_token_id": "<|end_of_video|>",
    }
    return {option: tokenizer.convert_tokens_to_ids(name) for option, name in names.items()}


def spell(count: int, time: str = "{:.0f}") -> str:
    """`time` is how the seconds of a pair's first frame are written; the tests have whole ones."""
    video = ""
    for first in range(0, count, 2):
        video += f"<|begin_of_image|>{VISUAL_TOKEN * 12}<|end_of_image|>{time.format(first / FRAMES_PER_SECOND)}"
    return f"[gMASK]<sop><|user|>\n<|begin_of_video|>{video}<|end_of_video|>{TEXT}<|assistant|>\n"


def _make_model(tokenizer):
    config = Glm4vConfig(
        text_config=glm_options(tokenizer),
        vision_config=TOWER,
        tie_word_embeddings=False,
        **token_ids(tokenizer),
    )
    return Glm4vForConditionalGeneration(config)


FAMILY = Family(
    special=TOKENS,
    make_model=_make_model,
    template=TEMPLATE,
    pixels=qwen.BOUNDED,
    visual_token=VISUAL_TOKEN,
    spell=spell,
    hub_pixels=qwen.hub_pixels,
)
