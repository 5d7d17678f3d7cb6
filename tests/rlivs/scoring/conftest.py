"""Random models of many families, and what eager attention says their captions attend to."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pytest
import torch
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaNextVideoConfig,
    LlavaNextVideoForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)

PAD = 0
VISUAL = 70
# Ids 1 to 69 are words; visual placeholders and padding never occur in a random prompt's words.
TEXT = {
    "vocab_size": 80,
    "hidden_size": 48,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    # Large weights: attention that is far from uniform, captions that differ from prompt to prompt.
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": PAD,
}
MROPE = {**TEXT, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}}
TOWER = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def words(batch: int, length: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(1, VISUAL, (batch, length), generator=torch.Generator().manual_seed(seed))


def pixels(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


def around(visual: int) -> tuple[torch.Tensor, slice]:
    """A prompt `[4 words | visual | 6 words]` and the columns of its visual tokens."""
    ids = torch.cat([words(1, 4), torch.full((1, visual), VISUAL), words(1, 6, seed=2)], 1)
    return ids, slice(4, 4 + visual)


def llava_onevision(**text: Any) -> tuple[type, Any, dict[str, Any], slice]:
    config = LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **TEXT, **text},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **TOWER},
        image_token_id=71,
        video_token_id=VISUAL,
        image_grid_pinpoints=[[32, 32]],
        tie_word_embeddings=False,
    )
    ids, columns = around(2 * 4 + 1)  # two frames of 2 x 2, and the newline
    return (
        LlavaOnevisionForConditionalGeneration,
        config,
        {"input_ids": ids, "pixel_values_videos": pixels(1, 2, 3, 32, 32)},
        columns,
    )


def llava_next_video() -> tuple[type, Any, dict[str, Any], slice]:
    config = LlavaNextVideoConfig(
        text_config={"model_type": "llama", **TEXT},
        vision_config={"model_type": "clip_vision_model", **TOWER},
        image_token_index=71,
        video_token_index=VISUAL,
        image_grid_pinpoints=[[32, 32]],
        image_seq_length=16,
        tie_word_embeddings=False,
    )
    ids, columns = around(2 * 4)
    return (
        LlavaNextVideoForConditionalGeneration,
        config,
        {"input_ids": ids, "pixel_values_videos": pixels(1, 2, 3, 32, 32)},
        columns,
    )


def internvl() -> tuple[type, Any, dict[str, Any], slice]:
    tower = {**TOWER, "image_size": [32, 32], "patch_size": [8, 8]}
    config = InternVLConfig(
        text_config={"model_type": "qwen2", **TEXT},
        vision_config={"model_type": "internvl_vision", **tower},
        image_token_id=VISUAL,
        tie_word_embeddings=False,
    )
    ids, columns = around(2 * 4)
    return InternVLForConditionalGeneration, config, {"input_ids": ids, "pixel_values": pixels(2, 3, 32, 32)}, columns


def smolvlm() -> tuple[type, Any, dict[str, Any], slice]:
    config = SmolVLMConfig(
        text_config={"model_type": "llama", **TEXT},
        vision_config={"model_type": "smolvlm_vision", **TOWER},
        image_token_id=VISUAL,
        scale_factor=2,
        pad_token_id=PAD,
        tie_word_embeddings=False,
    )
    ids, columns = around(2 * 4)
    return SmolVLMForConditionalGeneration, config, {"input_ids": ids, "pixel_values": pixels(1, 2, 3, 32, 32)}, columns


def gemma3() -> tuple[type, Any, dict[str, Any], slice]:
    kinds = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]
    text = {**TEXT, "num_hidden_layers": 4, "head_dim": 8, "layer_types": kinds, "sliding_window": 8}
    config = Gemma3Config(
        text_config=text,
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **TOWER},
        image_token_index=VISUAL,
        boi_token_index=72,
        eoi_token_index=73,
        mm_tokens_per_image=4,
        tie_word_embeddings=False,
    )
    ids, columns = around(4)
    inputs = {"input_ids": ids, "pixel_values": pixels(1, 3, 32, 32), "token_type_ids": (ids == VISUAL).long()}
    return Gemma3ForConditionalGeneration, config, inputs, columns


def _qwen_video(frames: int, height: int, width: int) -> tuple[dict[str, Any], slice]:
    ids, columns = around(frames * height * width // 4)
    inputs = {
        "input_ids": ids,
        "pixel_values_videos": pixels(frames * height * width, 3 * 2 * 64),
        "video_grid_thw": torch.tensor([[frames, height, width]]),
        "mm_token_type_ids": 2 * (ids == VISUAL).int(),
    }
    return inputs, columns


_QWEN_IDS = {"image_token_id": 71, "video_token_id": VISUAL, "vision_start_token_id": 72, "vision_end_token_id": 73}


def qwen2_vl() -> tuple[type, Any, dict[str, Any], slice]:
    tower = {"embed_dim": 16, "hidden_size": 48, "depth": 2, "num_heads": 2, "mlp_ratio": 2, "patch_size": 8}
    config = Qwen2VLConfig(text_config=MROPE, vision_config=tower, tie_word_embeddings=False, **_QWEN_IDS)
    return Qwen2VLForConditionalGeneration, config, *_qwen_video(2, 4, 4)


def qwen2_5_vl() -> tuple[type, Any, dict[str, Any], slice]:
    tower = {
        "hidden_size": 16,
        "out_hidden_size": 48,
        "intermediate_size": 32,
        "depth": 2,
        "num_heads": 2,
        "patch_size": 8,
        "window_size": 32,
        "fullatt_block_indexes": [1],
    }
    config = Qwen2_5_VLConfig(text_config=MROPE, vision_config=tower, tie_word_embeddings=False, **_QWEN_IDS)
    inputs, columns = _qwen_video(2, 4, 4)
    return Qwen2_5_VLForConditionalGeneration, config, {**inputs, "second_per_grid_ts": torch.tensor([1.0])}, columns


def qwen3_vl() -> tuple[type, Any, dict[str, Any], slice]:
    tower = {
        "hidden_size": 16,
        "out_hidden_size": 48,
        "intermediate_size": 32,
        "depth": 3,
        "num_heads": 2,
        "patch_size": 8,
        "deepstack_visual_indexes": [0, 1],
        "num_position_embeddings": 16,
    }
    ids, columns = around(8)
    tokens = {**_QWEN_IDS, "image_token_id": VISUAL, "video_token_id": 71}
    config = Qwen3VLConfig(
        text_config={**MROPE, "head_dim": 8}, vision_config=tower, tie_word_embeddings=False, **tokens
    )
    inputs = {
        "input_ids": ids,
        "pixel_values": pixels(32, 3 * 2 * 64),
        "image_grid_thw": torch.tensor([[1, 4, 8]]),
        "mm_token_type_ids": (ids == VISUAL).int(),
    }
    return Qwen3VLForConditionalGeneration, config, inputs, columns


def qwen2(**text: Any) -> tuple[type, Any, dict[str, Any], slice]:
    return Qwen2ForCausalLM, Qwen2Config(**{**TEXT, **text}), {"input_ids": words(1, 20)}, slice(5, 13)


def llama() -> tuple[type, Any, dict[str, Any], slice]:
    return LlamaForCausalLM, LlamaConfig(**TEXT), {"input_ids": words(1, 20)}, slice(5, 13)


FAMILIES: dict[str, Callable[..., tuple[type, Any, dict[str, Any], slice]]] = {
    maker.__name__: maker
    for maker in (
        llava_onevision, llava_next_video, internvl, smolvlm, gemma3, qwen2_vl, qwen2_5_vl, qwen3_vl, qwen2, llama,
    )
}  # fmt: skip


@dataclass(frozen=True)
class Twins:
    """Two models of the same weights: `model` to be tapped, `eager` to tell the truth; a prompt, its visual columns."""

    model: PreTrainedModel
    eager: PreTrainedModel
    inputs: dict[str, Any]
    columns: slice

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return self.eager.get_input_embeddings()(ids)

    def attentions(self, embeds: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """`[L, B, H, S, S]` of one eager pass over the prompt's embeddings and then the caption's ids `[B, N]`."""
        whole = torch.cat([embeds, self.embed(ids)], 1)
        mask = torch.cat([mask, torch.ones_like(ids)], 1)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        with torch.no_grad():
            out = self.eager(
                inputs_embeds=whole,
                attention_mask=mask,
                position_ids=positions,
                output_attentions=True,
                use_cache=False,
            )
        return torch.stack(out.attentions)

    def expected(
        self,
        layers: tuple[int, ...],
        embeds: torch.Tensor,
        mask: torch.Tensor,
        ids: torch.Tensor,
        columns: list[slice],
        lengths: list[int],
        include_last_prompt_row: bool = True,
    ) -> torch.Tensor:
        """Mean over layers, heads and rows, from the eager pass: `lengths[b]` caption tokens count in batch row b."""
        weights = self.attentions(embeds, mask, ids)
        rows = []
        for b, (column, length) in enumerate(zip(columns, lengths, strict=True)):
            first = embeds.shape[1] - 1
            skipped = 0 if include_last_prompt_row or length == 1 else 1
            chosen = slice(first + skipped, first + length)
            rows.append(weights[list(layers), b, :, chosen, column].mean((0, 1, 2)))
        return torch.stack(rows)


@lru_cache
def _twins(family: str, implementation: str, options: tuple[tuple[str, Any], ...]) -> Twins:
    make_model, config, inputs, columns = FAMILIES[family](**dict(options))
    models = []
    for name in (implementation, "eager"):
        torch.manual_seed(0)
        model = make_model._from_config(copy.deepcopy(config), attn_implementation=name).eval()
        assert model.get_decoder().config._attn_implementation == name
        model.generation_config.pad_token_id = PAD
        models.append(model)
    return Twins(*models, inputs, columns)


@pytest.fixture(scope="session")
def twins() -> Callable[..., Twins]:
    """twins(family, implementation="sdpa", **text_options): built once, so leave the models as they were."""
    return lambda family, implementation="sdpa", **options: _twins(family, implementation, tuple(options.items()))


@dataclass(frozen=True)
class Prompt:
    """A left-padded batch of prompts as embeddings, one column range each, and as ids for models of text."""

    ids: torch.Tensor
    embeds: torch.Tensor
    mask: torch.Tensor
    columns: list[slice]


def prompts(pair: Twins, batch: int, seed: int = 3) -> Prompt:
    """30 positions; row b has 3 b positions of padding, and 9 columns that start 3 b later."""
    ids = words(batch, 30, seed)
    mask = torch.ones_like(ids)
    for b in range(batch):
        mask[b, : 3 * b] = 0
    ids = torch.where(mask.bool(), ids, PAD)
    return Prompt(ids, pair.embed(ids).detach(), mask, [slice(6 + 3 * b, 15 + 3 * b) for b in range(batch)])


@pytest.fixture(scope="session")
def make_prompts() -> Callable[..., Prompt]:
    return prompts


@pytest.fixture(scope="session")
def make_words() -> Callable[..., torch.Tensor]:
    return words
