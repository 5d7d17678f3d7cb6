"""LLaVA-OneVision: nine tokens a frame, and one for the newline behind them."""

from __future__ import annotations

from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

from families.chatml import CHATML, spell_chatml
from families.family import NORMALISED, RECIPE, TOWER, Family, text_options
from rlivs.backbones.preprocessing import normalise, resize


def _make_model(tokenizer):
    config = LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **text_options(tokenizer)},
        vision_config={
            "model_type": "siglip_vision_model",
            "image_size": 35,
            "patch_size": 7,
            "vision_use_head": False,
            **TOWER,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[35, 35]],
        tie_word_embeddings=False,
    )
    return LlavaOnevisionForConditionalGeneration(config)


FAMILY = Family(
    special=("<image>", "<video>"),
    make_model=_make_model,
    template=CHATML,
    pixels={**NORMALISED, "size": {"height": 35, "width": 35}},
    visual_token="<video>",
    spell=lambda count: spell_chatml("<video>" * (9 * count + 1)),
    hub_pixels=lambda images, visual: {"pixel_values_videos": normalise(resize(images, 35, 35), RECIPE)[None]},
)
