"""The precision that training computes in: bfloat16 where the processor has instructions for it, else float32.

Without them bfloat16 products are emulated, at an eighth of float32's speed.
"""

from __future__ import annotations

import torch


def autocast() -> torch.autocast:
    """The context of a forward pass; weights stay in float32 either way."""
    return torch.autocast("cpu", torch.bfloat16, enabled=torch.ops.mkldnn._is_mkldnn_bf16_supported())
