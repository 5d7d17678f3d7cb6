"""GLM-4.5V: GLM-4.1V's prompt, a language model whose second layer has four experts, two for each token."""

from __future__ import annotations

from dataclasses import replace

from transformers import Glm4vMoeConfig, Glm4vMoeForConditionalGeneration

from families import glm4v

EXPERTS = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "first_k_dense_replace": 1}


def _make_model(tokenizer):
    config = Glm4vMoeConfig(
        text_config={**glm4v.glm_options(tokenizer), **EXPERTS},
        vision_config=glm4v.TOWER,
        tie_word_embeddings=False,
        **glm4v.token_ids(tokenizer),
    )
    return Glm4vMoeForConditionalGeneration(config)


FAMILY = replace(glm4v.FAMILY, make_model=_make_model)
