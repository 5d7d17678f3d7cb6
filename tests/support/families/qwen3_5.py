"""Qwen3.5: no deepstack, and layers of linear attention before each layer of attention."""

from __future__ import annotations

from dataclasses import replace

from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

from families import qwen, qwen3_vl

TOWER = {name: value for name, value in qwen3_vl.TOWER.items() if name != "deepstack_visual_indexes"}


def hybrid_options(tokenizer):
    """Four layers, the second and the fourth of attention; a quarter of each head is rotated."""
    options = qwen.mrope_options(tokenizer)
    return {
        **options,
        "head_dim": 32,
        "rope_parameters": {**options["rope_parameters"], "partial_rotary_factor": 0.25, "mrope_interleaved": True},
        "num_hidden_layers": 4,
        "layer_types": ["linear_attention", "full_attention"] * 2,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
    }


def _make_model(tokenizer):
    config = Qwen3_5Config(
        text_config=hybrid_options(tokenizer),
        vision_config=TOWER,
        tie_word_embeddings=False,
        **qwen.token_ids(tokenizer),
    )
    return Qwen3_5ForConditionalGeneration(config)


FAMILY = replace(qwen3_vl.FAMILY, make_model=_make_model)
