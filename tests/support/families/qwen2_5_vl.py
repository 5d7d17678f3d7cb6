"""Qwen2.5-VL: a second of video takes two positions."""

from __future__ import annotations

from dataclasses import replace

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from families import qwen, qwen2_vl
from families.family import FRAMES_PER_SECOND


def _make_model(tokenizer):
    config = Qwen2_5_VLConfig(
        text_config=qwen.mrope_options(tokenizer),
        vision_config={
            "hidden_size": 16,
            "out_hidden_size": 32,
            "intermediate_size": 32,
            "depth": 2,
            "num_heads": 2,
            "patch_size": 4,
            "window_size": 16,
            "fullatt_block_indexes": [1],
            "tokens_per_second": 2,
        },
        tie_word_embeddings=False,
        **qwen.token_ids(tokenizer),
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def _hub_pixels(images, visual):
    seconds = torch.tensor([2.0 / FRAMES_PER_SECOND])
    return {**qwen.hub_pixels(images, visual), "second_per_grid_ts": seconds}


FAMILY = replace(qwen2_vl.FAMILY, make_model=_make_model, hub_pixels=_hub_pixels)
