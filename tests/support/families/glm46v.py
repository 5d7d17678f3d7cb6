"""GLM-4.6V: GLM-4.1V with the times in tenths of a second."""

from __future__ import annotations

from dataclasses import replace

from transformers import Glm46VConfig, Glm46VForConditionalGeneration

from families import glm4v


def _make_model(tokenizer):
    config = Glm46VConfig(
        text_config={"model_type": "glm4v_text", **glm4v.glm_options(tokenizer)},
        vision_config={"model_type": "glm4v_vision", **glm4v.TOWER},
        tie_word_embeddings=False,
        **glm4v.token_ids(tokenizer),
    )
    return Glm46VForConditionalGeneration(config)


FAMILY = replace(glm4v.FAMILY, make_model=_make_model, spell=lambda count: glm4v.spell(count, "{:.1f} seconds"))
