"""Qwen3-VL: times between the pairs of frames, two levels of deepstack."""

from __future__ import annotations

from dataclasses import replace

from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from families import qwen, qwen2_vl

TOWER = {
    "hidden_size": 16,
    "out_hidden_size": 32,
    "intermediate_size": 32,
    "depth": 3,
    "num_heads": 2,
    "patch_size": 4,
    "deepstack_visual_indexes": [0, 1],
    "num_position_embeddings": 16,
}


def _make_model(tokenizer):
    config = Qwen3VLConfig(
        text_config={**qwen.mrope_options(tokenizer), "head_dim": 8},
        vision_config=TOWER,
        tie_word_embeddings=False,
        **qwen.token_ids(tokenizer),
    )
    return Qwen3VLForConditionalGeneration(config)


FAMILY = replace(qwen2_vl.FAMILY, make_model=_make_model, spell=qwen.spell_with_times)
