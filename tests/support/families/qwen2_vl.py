"""Qwen2-VL."""

from __future__ import annotations

from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from families import qwen
from families.family import Family


def _make_model(tokenizer):
    config = Qwen2VLConfig(
        text_config=qwen.mrope_options(tokenizer),
        vision_config={
            "embed_dim": 16,
            "hidden_size": 32,
            "depth": 2,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 4,
        },
        tie_word_embeddings=False,
        **qwen.token_ids(tokenizer),
    )
    return Qwen2VLForConditionalGeneration(config)


FAMILY = Family(
    special=qwen.TOKENS,
    make_model=_make_model,
    template=qwen.TEMPLATE,
    pixels=qwen.BOUNDED,
    visual_token=qwen.VISUAL_TOKEN,
    spell=qwen.spell,
    hub_pixels=qwen.hub_pixels,
)
