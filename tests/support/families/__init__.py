"""The families of the tests, one file each; docs/add-a-backbone.md says what a new one needs."""

from __future__ import annotations

from families import (
    internvl,
    llava_next_video,
    llava_onevision,
    qwen2_5_vl,
    qwen2_vl,
    qwen3_vl,
    smolvlm,
)
from families.family import Family

# by model type
FAMILIES: dict[str, Family] = {
    "internvl": internvl.FAMILY,
    "llava_next_video": llava_next_video.FAMILY,
    "llava_onevision": llava_onevision.FAMILY,
    "qwen2_5_vl": qwen2_5_vl.FAMILY,
    "qwen2_vl": qwen2_vl.FAMILY,
    "qwen3_vl": qwen3_vl.FAMILY,
    "smolvlm": smolvlm.FAMILY,
}
