"""Perception-LM: four tokens a frame, nothing between frames."""

from __future__ import annotations

from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    PerceptionLMConfig,
    PerceptionLMForConditionalGeneration,
    PreTrainedModel,
    TimmWrapperConfig,
)
from transformers.models import timm_wrapper

from families.family import RECIPE, SQUARE, TEXT, TOWER, Family, text_options
from rlivs.backbones.preprocessing import normalise, resize

SYSTEM = "You are a helpful language and vision assistant."
TEMPLATE = (
    "{{- bos_token }}{{- '<|start_header_id|>system<|end_header_id|>\n\n" + SYSTEM + "<|eot_id|>' }}"
    "{%- for message in messages %}{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{%- for part in message['content'] | selectattr('type', 'equalto', 'video') %}{{ '<|video|>' }}{%- endfor %}"
    "{%- for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{- part['text'] | trim }}"
    "{%- endfor %}{{ '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)


class StandIn(PreTrainedModel):
    """CLIP's tower in place of timm's, which is not installed here: a class token and 4x4 patches, too."""

    config_class = TimmWrapperConfig
    main_input_name = "pixel_values"
    _supports_sdpa = True

    def __init__(self, config: TimmWrapperConfig) -> None:
        super().__init__(config)
        self.timm_model = CLIPVisionModel(CLIPVisionConfig(image_size=28, patch_size=7, **TOWER))
        self.post_init()

    def forward(self, pixel_values, return_dict=True):
        return self.timm_model(pixel_values)


timm_wrapper.TimmWrapperModel = StandIn


def _make_model(tokenizer):
    config = PerceptionLMConfig(
        text_config={"model_type": "llama", **text_options(tokenizer)},
        vision_config={"model_type": "timm_wrapper", "model_args": {"embed_dim": TOWER["hidden_size"]}},
        projector_pooling_ratio=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<|image|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video|>"),
        tie_word_embeddings=False,
    )
    return PerceptionLMForConditionalGeneration(config)


def _spell(count: int) -> str:
    return (
        f"<|start_header_id|>system<|end_header_id|>\n\n{SYSTEM}<|eot_id|>"
        f"<|start_header_id|>user<|end_header_id|>\n\n{'<|video|>' * (4 * count)}{TEXT}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


FAMILY = Family(
    special=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|image|>", "<|video|>"),
    make_model=_make_model,
    template=TEMPLATE,
    pixels=SQUARE,
    visual_token="<|video|>",
    spell=_spell,
    hub_pixels=lambda images, visual: {"pixel_values_videos": normalise(resize(images, 28, 28), RECIPE)[None]},
)
