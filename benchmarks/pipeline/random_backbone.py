"""A backbone of any configuration with random weights, made on the device it runs on; nothing is downloaded."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from benchmarks.pipeline.shapes import Model
from rlivs.backbones import Backbone
from rlivs.backbones.loading import find_family
from rlivs.backbones.pretrained import Pretrained

_TOKENS = {
    "llava_onevision": {"image_token_id": "<image>", "video_token_id": "<video>"},
    "qwen2_5_vl": {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    },
}
_MODELS: dict[str, tuple[Any, Any]] = {
    "llava_onevision": (LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration),
    "qwen2_5_vl": (Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration),
}
_VIDEO = {"llava_onevision": "<video>", "qwen2_5_vl": "<|vision_start|><|video_pad|><|vision_end|>"}


def random_backbone(model: Model, device: str, dtype: torch.dtype) -> Backbone:
    """The backbone of `model` with weights as training would begin. No token ends a text, so all have full length."""
    tokens = _TOKENS[model.family]
    tokenizer = byte_tokenizer(*tokens.values())
    ids = {option: tokenizer.convert_tokens_to_ids(token) for option, token in tokens.items()}
    make_config, model_class = _MODELS[model.family]
    # Ids of the models' own vocabulary would lie outside a toy's.
    ends = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    config = make_config(
        text_config={**model.text, **ends},
        vision_config=dict(model.vision),
        tie_word_embeddings=model.text.get("tie_word_embeddings", False),
        **ids,
    )
    torch.manual_seed(0)
    with torch.device(device):
        network = model_class._from_config(config, dtype=dtype, attn_implementation="sdpa")
    network.eval().requires_grad_(False)
    network.generation_config.eos_token_id = None
    network.generation_config.pad_token_id = 0
    pixels = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 3}
    side = model.pixels or 1
    return find_family(model.family)(
        Pretrained(
            name=model.name,
            model=network,
            tokenizer=tokenizer,
            chat_template=_template(_VIDEO[model.family]),
            pixel_settings={**pixels, "size": {"height": side, "width": side}},
            eos_token_ids=(),
        )
    )


def byte_tokenizer(*special: str) -> PreTrainedTokenizerFast:
    """One token a byte, and chat tokens: a text of n letters has n tokens. Ids beyond these have no text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={symbol: index for index, symbol in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *special)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def _template(video: str) -> str:
    return (
        "{% for message in messages %}<|im_start|>{{ message['role'] }} "
        "{% for part in message['content'] %}{% if part['type'] == 'video' %}" + video + "{% endif %}{% endfor %}"
        "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ '\\n' + part['text'] }}{% endif %}"
        "{% endfor %}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
