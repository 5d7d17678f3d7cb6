"""Qwen3-VL with experts: two of four a token."""

from __future__ import annotations

from dataclasses import replace

from transformers import Qwen3VLMoeConfig, Qwen3VLMoeForConditionalGeneration

from families import qwen, qwen3_vl

EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}


def _make_model(tokenizer):
    config = Qwen3VLMoeConfig(
        text_config={**qwen.mrope_options(tokenizer), "head_dim": 8, **EXPERTS},
        vision_config=qwen3_vl.TOWER,
        tie_word_embeddings=False,
        **qwen.token_ids(tokenizer),
    )
    return Qwen3VLMoeForConditionalGeneration(config)


FAMILY = replace(qwen3_vl.FAMILY, make_model=_make_model)
