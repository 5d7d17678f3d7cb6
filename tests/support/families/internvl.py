"""InternVL: four tokens a frame, frames numbered."""

from __future__ import annotations

from transformers import InternVLConfig, InternVLForConditionalGeneration

from families.chatml import CHATML, spell_chatml
from families.family import RECIPE, SQUARE, TOWER, Family, text_options
from rlivs.backbones.preprocessing import normalise, resize

TOKEN = "<IMG_CONTEXT>"


def _make_model(tokenizer):
    config = InternVLConfig(
        text_config={"model_type": "qwen2", **text_options(tokenizer)},
        vision_config={"model_type": "internvl_vision", "image_size": [28, 28], "patch_size": [7, 7], **TOWER},
        image_token_id=tokenizer.convert_tokens_to_ids(TOKEN),
        tie_word_embeddings=False,
    )
    return InternVLForConditionalGeneration(config)


FAMILY = Family(
    special=("<img>", "</img>", TOKEN, "<video>"),
    make_model=_make_model,
    template=CHATML,
    pixels=SQUARE,
    visual_token=TOKEN,
    spell=lambda count: spell_chatml("\n".join(f"Frame{i + 1}: <img>{TOKEN * 4}</img>" for i in range(count))),
    hub_pixels=lambda images, visual: {"pixel_values": normalise(resize(images, 28, 28), RECIPE)},
)
