"""Qwen3.5 with experts: two of four a token, and one that all share."""

from __future__ import annotations

from dataclasses import replace

from transformers import Qwen3_5MoeConfig, Qwen3_5MoeForConditionalGeneration

from families import qwen, qwen3_5, qwen3_vl, qwen3_vl_moe

EXPERTS = {**qwen3_vl_moe.EXPERTS, "shared_expert_intermediate_size": 16}


def _make_model(tokenizer):
    options = qwen3_5.hybrid_options(tokenizer)
    del options["intermediate_size"]
    config = Qwen3_5MoeConfig(
        text_config={**options, **EXPERTS},
        vision_config=qwen3_5.TOWER,
        tie_word_embeddings=False,
        **qwen.token_ids(tokenizer),
    )
    return Qwen3_5MoeForConditionalGeneration(config)


FAMILY = replace(qwen3_vl.FAMILY, make_model=_make_model)
