"""Checkpoints of random weights, small enough to make in a test."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlavaNextVideoConfig,
    LlavaNextVideoForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
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
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        # Small weights leave all tokens about equally likely; these give captions that differ from prompt to prompt.
        "initializer_range": 0.3,
    }


TOWER = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def _llava_onevision(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    config = LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **_text_options(tokenizer)},
        vision_config={
            "model_type": "siglip_vision_model",
            "image_size": 35,
            "patch_size": 7,
            "vision_use_head": False,
            **TOWER,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[35, 35]],
        tie_word_embeddings=False,
    )
    return LlavaOnevisionForConditionalGeneration(config)


def _llava_next_video(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    config = LlavaNextVideoConfig(
        text_config={"model_type": "llama", **_text_options(tokenizer)},
        vision_config={"model_type": "clip_vision_model", "image_size": 28, "patch_size": 7, **TOWER},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[28, 28]],
        image_seq_length=16,
        tie_word_embeddings=False,
    )
    return LlavaNextVideoForConditionalGeneration(config)


def _internvl(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    config = InternVLConfig(
        text_config={"model_type": "qwen2", **_text_options(tokenizer)},
        vision_config={"model_type": "internvl_vision", "image_size": [28, 28], "patch_size": [7, 7], **TOWER},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        tie_word_embeddings=False,
    )
    return InternVLForConditionalGeneration(config)


def _smolvlm(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    config = SmolVLMConfig(
        text_config={"model_type": "llama", **_text_options(tokenizer)},
        vision_config={"model_type": "smolvlm_vision", "image_size": 28, "patch_size": 7, **TOWER},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    return SmolVLMForConditionalGeneration(config)


def _mrope_options(tokenizer: PreTrainedTokenizerFast) -> dict:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    return {**_text_options(tokenizer), "rope_parameters": rope}


def _qwen_tokens(tokenizer: PreTrainedTokenizerFast) -> dict:
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {option: tokenizer.convert_tokens_to_ids(name) for option, name in names.items()}


def _qwen2_vl(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    tower = {"embed_dim": 16, "hidden_size": 32, "depth": 2, "num_heads": 2, "mlp_ratio": 2, "patch_size": 4}
    config = Qwen2VLConfig(
        text_config=_mrope_options(tokenizer), vision_config=tower, tie_word_embeddings=False, **_qwen_tokens(tokenizer)
    )
    return Qwen2VLForConditionalGeneration(config)


def _qwen2_5_vl(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    tower = {
        "hidden_size": 16,
        "out_hidden_size": 32,
        "intermediate_size": 32,
        "depth": 2,
        "num_heads": 2,
        "patch_size": 4,
        "window_size": 16,
        "fullatt_block_indexes": [1],
        "tokens_per_second": 2,
    }
    config = Qwen2_5_VLConfig(
        text_config=_mrope_options(tokenizer), vision_config=tower, tie_word_embeddings=False, **_qwen_tokens(tokenizer)
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def _qwen3_vl(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    tower = {
        "hidden_size": 16,
        "out_hidden_size": 32,
        "intermediate_size": 32,
        "depth": 3,
        "num_heads": 2,
        "patch_size": 4,
        "deepstack_visual_indexes": [0, 1],
        "num_position_embeddings": 16,
    }
    config = Qwen3VLConfig(
        text_config={**_mrope_options(tokenizer), "head_dim": 8},
        vision_config=tower,
        tie_word_embeddings=False,
        **_qwen_tokens(tokenizer),
    )
    return Qwen3VLForConditionalGeneration(config)


NEXT = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'video' %}{{ '<video>\n' }}{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] + ' ' }}{% endif %}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
QWEN = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% for message in messages %}<|im_start|>user\n"
    "{% for part in message['content'] %}{% if part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMOL = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}: "
    "{% for part in message['content'] %}{% if part['type'] == 'video' %}<video>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
NORMALISED = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.25, 0.2], "resample": 3}
SQUARE = {**NORMALISED, "size": {"height": 28, "width": 28}}
COVERED = {**NORMALISED, "size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}
BOUNDED = {**NORMALISED, "size": {"shortest_edge": 3136, "longest_edge": 12845056}}
QWEN_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")

# model type -> (special tokens, maker of the model, chat template, settings of the video preprocessor)
FAMILIES = {
    "llava_onevision": (
        ("<image>", "<video>"),
        _llava_onevision,
        CHATML,
        {**NORMALISED, "size": {"height": 35, "width": 35}},
    ),
    "llava_next_video": (("<image>", "<video>"), _llava_next_video, NEXT, COVERED),
    "internvl": (("<img>", "</img>", "<IMG_CONTEXT>", "<video>"), _internvl, CHATML, SQUARE),
    # no <video>, as on the hub
    "smolvlm": (("<image>", "<fake_token_around_image>", "<global-img>"), _smolvlm, SMOL, SQUARE),
    "qwen2_vl": (QWEN_TOKENS, _qwen2_vl, QWEN, BOUNDED),
    "qwen2_5_vl": (QWEN_TOKENS, _qwen2_5_vl, QWEN, BOUNDED),
    "qwen3_vl": (QWEN_TOKENS, _qwen3_vl, QWEN, BOUNDED),
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
