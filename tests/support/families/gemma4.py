"""Gemma 4: twelve tokens a frame, behind its time; layers of a sliding window among others. The larger one has pictures
that see all of themselves and experts, the smaller an embedding of every token for each layer and shared keys."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers import Gemma4Config, Gemma4ForConditionalGeneration, PreTrainedTokenizerFast

from families.family import CHANNELS, FRAMES_PER_SECOND, RECIPE, TEXT, Family, text_options
from rlivs.backbones.preprocessing import normalise, resize

# As the released checkpoints': the template trims the text, and the tokenizer does not know the token of a video.
TEMPLATE = (
    "{% for message in messages %}{{ '<|turn>' + message['role'] + '\n' }}{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}{{ '\n\n<|video|>\n\n' }}{% else %}{{ part['text'] | trim }}{% endif %}"
    "{% endfor %}{{ '<turn|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|turn>model\n' }}{% endif %}"
)
TOKENS = ("<|turn>", "<turn|>", "<|image>", "<|image|>", "<image|>")
PATCH, POOLED, BUDGET = 4, 2, 13
ROWS, COLUMNS = 3, 4  # of the tokens of a frame
PIXELS = {
    **CHANNELS,
    "resample": 3,
    "rescale_factor": 1 / 255,
    "max_soft_tokens": BUDGET,
    "patch_size": PATCH,
    "pooling_kernel_size": POOLED,
}
SMALLER = {
    "num_hidden_layers": 5,
    "layer_types": ["full_attention", "sliding_attention", "full_attention", "sliding_attention", "full_attention"],
    "num_kv_shared_layers": 2,
    "use_double_wide_mlp": True,
    "hidden_size_per_layer_input": 8,
}
LARGER = {
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "use_bidirectional_attention": "vision",
    "hidden_size_per_layer_input": 0,
    "attention_k_eq_v": True,
    "num_global_key_value_heads": 1,
    "enable_moe_block": True,
    "num_experts": 4,
    "top_k_experts": 2,
    "moe_intermediate_size": 16,
}


def make_model(tokenizer: PreTrainedTokenizerFast, **options: Any) -> Gemma4ForConditionalGeneration:
    """`options` tell one size of the family from another."""
    names = zip(("boi", "image", "eoi"), TOKENS[2:], strict=True)
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in names}
    text = {**text_options(tokenizer), "head_dim": 8, "global_head_dim": 16, "sliding_window": 8}
    text |= {"final_logit_softcapping": 4.0, "vocab_size_per_layer_input": len(tokenizer), **options}
    config = Gemma4Config(
        text_config=text,
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 12,
            "patch_size": PATCH,
            "pooling_kernel_size": POOLED,
            "position_embedding_size": 32,
            "standardize": True,
            "initializer_range": 0.3,
        },
        **{f"{name}_token_id": token for name, token in ids.items()},
        video_token_id=len(tokenizer),  # the next that a tokenizer gives
        tie_word_embeddings=False,  # else every token is followed by itself
    )
    model = Gemma4ForConditionalGeneration(config)
    tower = model.model.vision_tower
    # All ones at first, so that no place would differ from another.
    torch.nn.init.normal_(tower.patch_embedder.position_embedding_table, std=0.3)
    torch.nn.init.normal_(tower.std_bias)
    # A model that says the token of an image itself is fed padding in its place by transformers' wrapper, which steps
    # of the language model leave out.
    torch.nn.init.zeros_(model.lm_head.weight[ids["image"]])
    return model


def _spell(count: int) -> str:
    frames = []
    for index in range(count):
        seconds = index // FRAMES_PER_SECOND
        frames.append(f"{seconds // 60:02d}:{seconds % 60:02d} <|image>{'<|video|>' * (ROWS * COLUMNS)}<image|>")
    return f"<|turn>user\n\n\n{' '.join(frames)}\n\n{TEXT}<turn|>\n<|turn>model\n"


def _hub_pixels(images: torch.Tensor, visual: torch.Tensor) -> dict[str, torch.Tensor]:
    rows, columns, longest = ROWS * POOLED, COLUMNS * POOLED, BUDGET * POOLED**2
    pixels = normalise(resize(images, rows * PATCH, columns * PATCH), RECIPE)
    patches = torch.zeros(len(images), longest, 3 * PATCH**2)
    places = torch.full((len(images), longest, 2), -1)
    for row in range(rows):
        for column in range(columns):
            corner = pixels[..., row * PATCH :, column * PATCH :][..., :PATCH, :PATCH]
            patches[:, row * columns + column] = corner.permute(0, 2, 3, 1).flatten(1)
            places[:, row * columns + column] = torch.tensor([column, row])
    inputs = {"pixel_values_videos": patches, "video_position_ids": places, "mm_token_type_ids": 2 * visual.int()}
    if "num_frames_per_video" in inspect.signature(Gemma4ForConditionalGeneration.forward).parameters:
        return {**inputs, "num_frames_per_video": torch.tensor([len(images)])}
    return {**inputs, "pixel_values_videos": patches[None], "video_position_ids": places[None]}  # one for each video


def _family(options: dict[str, Any]) -> Family:
    return Family(
        special=TOKENS,
        make_model=lambda tokenizer: make_model(tokenizer, **options),
        template=TEMPLATE,
        pixels={"image_processor": {**PIXELS, "max_soft_tokens": 280}, "video_processor": PIXELS},
        visual_token="<|video|>",
        spell=_spell,
        hub_pixels=_hub_pixels,
    )


FAMILY = _family(SMALLER)
LARGER_FAMILY = _family(LARGER)
