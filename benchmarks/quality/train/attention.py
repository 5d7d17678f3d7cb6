"""Attention for short training sequences on a CPU, where plain matrix products beat the fused kernels' backward."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

NAME = "plain_grouped"


def plain_grouped(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, **_
) -> tuple[Tensor, None]:
    """softmax(q k^T * scaling + mask) v, causal without a mask; query `[B, Hq, T, D]`, key `[B, Hkv, T, D]`."""
    batch, heads, length, size = query.shape
    groups = key.shape[1]
    rows = (query * scaling).reshape(batch * groups, heads // groups * length, size)
    flat_key, flat_value = (x.reshape(batch * groups, length, size) for x in (key, value))
    scores = torch.bmm(rows, flat_key.transpose(1, 2)).view(batch, heads, length, length)
    if mask is None:
        hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
        mask = torch.zeros(1, 1, length, length, dtype=scores.dtype).masked_fill_(hidden, -1e4)
    weights = torch.softmax(scores + mask.to(scores.dtype), dim=-1)
    if getattr(module, "keeps_weights", False):
        module.kept_weights = weights  # type: ignore[assignment]
    out = torch.bmm(weights.view_as(scores).reshape(batch * groups, -1, length).to(flat_value.dtype), flat_value)
    return out.view(batch, heads, length, size).transpose(1, 2).contiguous(), None


def use_plain_grouped(model: nn.Module) -> None:
    """Switch the language model's layers to `plain_grouped`; the checkpoint's config does not change.

    The last two layers keep their weights `[B, Hq, T, T]` as `kept_weights`, for the losses that show where to look.
    """
    for layer in model.model.language_model.layers[-2:]:
        layer.self_attn.keeps_weights = True
    AttentionInterface.register(NAME, plain_grouped)
    model.model.language_model.config._attn_implementation_internal = NAME
