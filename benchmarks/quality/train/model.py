"""The tiny checkpoint's shape, and the pieces of its forward pass that training needs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration, Qwen2Config, SiglipVisionConfig

from benchmarks.quality.world import tokens

FRAME_SIZE = 64
CELLS = 4
TOKENS_PER_FRAME = CELLS * CELLS
FRAMES_PER_CLIP = 16
KEPT_TOKENS = 16
MEMORY_SLOTS = 16


@dataclass(frozen=True)
class Shape:
    """Widths and depths; the defaults are the shipped model, smaller ones serve tests."""

    vision_width: int = 128
    vision_inner: int = 384
    vision_layers: int = 3
    text_width: int = 192
    text_inner: int = 512
    text_layers: int = 4
    text_heads: int = 6
    text_kv_heads: int = 2
    head_dim: int = 64


def build(shape: Shape, seed: int = 0) -> LlavaOnevisionForConditionalGeneration:
    """A freshly initialised model for the world's tokenizer, in float32."""
    tokenizer = tokens.build()
    ids = {token: tokenizer.token_to_id(token) for token in tokens.SPECIAL}
    vision = SiglipVisionConfig(
        hidden_size=shape.vision_width,
        intermediate_size=shape.vision_inner,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=max(1, shape.vision_width // 64),
        image_size=FRAME_SIZE,
        patch_size=8,
        vision_use_head=False,
    )
    text = Qwen2Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=shape.text_width,
        intermediate_size=shape.text_inner,
        num_hidden_layers=shape.text_layers,
        num_attention_heads=shape.text_heads,
        num_key_value_heads=shape.text_kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=2048,
        initializer_range=0.05,
        bos_token_id=None,
        eos_token_id=ids["<|im_end|>"],
        pad_token_id=ids["<|endoftext|>"],
        tie_word_embeddings=False,
        use_cache=True,
    )
    config = LlavaOnevisionConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=ids["<image>"],
        video_token_index=ids["<video>"],
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=[[FRAME_SIZE, FRAME_SIZE]],
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    model = LlavaOnevisionForConditionalGeneration(config)
    with torch.no_grad():
        model.get_input_embeddings().weight.normal_(0, 0.3)
        model.model.image_newline.normal_(0, 0.3)
    return model.float()


def visual_tokens(model: nn.Module, frames: Tensor) -> Tensor:
    """Visual tokens `[n, 16, hidden]` of uint8 frames `[n, 64, 64, 3]`."""
    pixels = (frames.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    inner = model.model
    hidden = inner.vision_tower(pixels, output_hidden_states=True, return_dict=True).hidden_states[-1]
    return inner.apply_pooling(inner.multi_modal_projector(hidden))


def parameter_count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
