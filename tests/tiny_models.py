"""Checkpoints of random weights, small enough to make in a test."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

END_OF_TURN = "<|im_end|>"

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }} "
    "{% for part in message['content'] %}{% if part['type'] == 'video' %}<video>{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ '\\n' + part['text'] }}{% endif %}"
    "{% endfor %}"
    "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_tokenizer(*special: str) -> PreTrainedTokenizerFast:
    """One token a byte, and chat tokens; the `special` ones are, as on the hub, in no attribute of the tokenizer."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={symbol: index for index, symbol in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = ("<|endoftext|>", "<|im_start|>", END_OF_TURN, *special)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TURN, pad_token="<|endoftext|>")


def _text_options(tokenizer: PreTrainedTokenizerFast) -> dict:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        # Small weights leave all tokens about equally likely; these give captions that differ from prompt to prompt.
        "initializer_range": 0.3,
    }


def _llava_onevision(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    config = LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **_text_options(tokenizer)},
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 35,
            "patch_size": 7,
            "vision_use_head": False,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[35, 35]],
        tie_word_embeddings=False,
    )
    return LlavaOnevisionForConditionalGeneration(config)


# model type -> (special tokens, maker of the model, chat template, settings of the video preprocessor)
FAMILIES = {
    "llava_onevision": (
        ("<image>", "<video>"),
        _llava_onevision,
        CHATML,
        {
            "size": {"height": 35, "width": 35},
            "image_mean": [0.5, 0.4, 0.3],
            "image_std": [0.5, 0.25, 0.2],
            "resample": 3,
        },
    ),
}


def save_tiny_checkpoint(directory: Path, family: str, seed: int = 0) -> Path:
    """A whole checkpoint directory of a random model of `family`, float32; the same seed gives the same weights."""
    special, make_model, template, pixels = FAMILIES[family]
    tokenizer = tiny_tokenizer(*special)
    torch.manual_seed(seed)
    model = make_model(tokenizer).eval()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    (directory / "chat_template.jinja").write_text(template)
    (directory / "preprocessor_config.json").write_text(json.dumps(pixels))
    return directory


def load_tiny_backbone(directory: Path, family: str, seed: int = 0):
    """The backbone of a fresh checkpoint in `directory`, float32 on the CPU."""
    from rlivs.backbones import load_backbone

    return load_backbone(save_tiny_checkpoint(directory, family, seed), device="cpu")
