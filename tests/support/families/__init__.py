"""The families of the tests, one file each; docs/add-a-backbone.md says what a new one needs."""

from __future__ import annotations

from families import (
    gemma4,
    glm4v,
    glm4v_moe,
    glm46v,
    internvl,
    llava_next_video,
    llava_onevision,
    minicpmv4_6,
    perception_lm,
    qwen2_5_vl,
    qwen2_vl,
    qwen3_5,
    qwen3_5_moe,
    qwen3_vl,
    qwen3_vl_moe,
    smolvlm,
    video_llama_3,
)
from families.family import Family

# by model type
FAMILIES: dict[str, Family] = {
    "gemma4": gemma4.FAMILY,
    "glm46v": glm46v.FAMILY,
    "glm4v": glm4v.FAMILY,
    "glm4v_moe": glm4v_moe.FAMILY,
    "internvl": internvl.FAMILY,
    "llava_next_video": llava_next_video.FAMILY,
    "llava_onevision": llava_onevision.FAMILY,
    "minicpmv4_6": minicpmv4_6.FAMILY,
    "perception_lm": perception_lm.FAMILY,
    "qwen2_5_vl": qwen2_5_vl.FAMILY,
    "qwen2_vl": qwen2_vl.FAMILY,
    "qwen3_5": qwen3_5.FAMILY,
    "qwen3_5_moe": qwen3_5_moe.FAMILY,
    "qwen3_vl": qwen3_vl.FAMILY,
    "qwen3_vl_moe": qwen3_vl_moe.FAMILY,
    "smolvlm": smolvlm.FAMILY,
    "video_llama_3": video_llama_3.FAMILY,
}
# and other sizes of a family, where they have other parts
VARIANTS: dict[str, Family] = {**FAMILIES, "gemma4-larger": gemma4.LARGER_FAMILY}
# Those with windows, so that a decode step is no replay of the one before.
SLIDING = {"gemma4", "gemma4-larger"}
