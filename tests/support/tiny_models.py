"""Checkpoints of random weights, small enough to make in a test."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from families import VARIANTS
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

END_OF_TURN = "<|im_end|>"


def tiny_tokenizer(*special: str) -> PreTrainedTokenizerFast:
    """One token a byte, and chat tokens; the `special` ones are, as on the hub, in no attribute of the tokenizer."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={symbol: index for index, symbol in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = ("<|endoftext|>", "<|im_start|>", END_OF_TURN, *special)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TURN, pad_token="<|endoftext|>")


def make_tiny_model(name: str) -> PreTrainedModel:
    """A random model of a family, which no tokenizer comes with."""
    return VARIANTS[name].make_model(tiny_tokenizer(*VARIANTS[name].special))


def save_tiny_checkpoint(directory: Path, name: str, seed: int = 0) -> Path:
    """A whole checkpoint directory of a random model of a family, float32; the same seed gives the same weights."""
    family = VARIANTS[name]
    tokenizer = tiny_tokenizer(*family.special)
    torch.manual_seed(seed)
    model = family.make_model(tokenizer).eval()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    (directory / "chat_template.jinja").write_text(family.template)
    (directory / "preprocessor_config.json").write_text(json.dumps(family.pixels))
    return directory


def load_tiny_backbone(directory: Path, name: str, seed: int = 0):
    """The backbone of a fresh checkpoint in `directory`, float32 on the CPU."""
    from rlivs.backbones import load_backbone

    return load_backbone(save_tiny_checkpoint(directory, name, seed), device="cpu")
