"""The same layers in fewer operations: at one position a step, a small one takes a GPU as long as a large one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

# Attention modules of transformers whose forward is projections, rotation of halves, cache, attention function, output
# projection; those with q_norm and k_norm normalise each head before the rotation.
ROTATING = (
    "LlamaAttention", "Qwen2Attention", "Qwen2VLAttention", "Qwen2_5_VLAttention", "Qwen3Attention",
    "Qwen3MoeAttention", "Qwen3VLMoeTextAttention", "Qwen3VLTextAttention",
)  # fmt: skip


# Norms of transformers that scale by 1 + weight, in float32, and those that a gate follows.
SCALED_FROM_ONE = ("Qwen3_5RMSNorm", "Qwen3_5MoeRMSNorm")
GATED = ("Qwen3_5RMSNormGated", "Qwen3_5MoeRMSNormGated")


class FewerOperations:
    """While entered, RMS norms are one operation in place of eight, and rotations four in place of ten.

    Made once a text and entered for each of its steps. Modules keep their weights and hooks. Products are rounded once
    where transformers rounds parts of them first.
    """

    def __init__(self, decoder: nn.Module) -> None:
        rotation = _Rotation()
        found = [(module, _forward(module, rotation)) for module in decoder.modules()]
        self._forwards = [(module, forward) for module, forward in found if forward is not None]
        self._replaced: list[nn.Module] = []

    def __enter__(self) -> None:
        for module, forward in self._forwards:
            if "forward" not in vars(module):  # else someone has wrapped it
                module.forward = forward  # type: ignore[method-assign]
                self._replaced.append(module)

    def __exit__(self, *error: object) -> None:
        while self._replaced:
            del self._replaced.pop().forward


def _forward(module: Any, rotation: _Rotation) -> Callable[..., Any] | None:
    name = type(module).__name__
    if name in SCALED_FROM_ONE:
        return partial(_normalise_from_one, 1 + module.weight.float(), float(module.eps))
    if name in GATED:
        return partial(_normalise_and_gate, module.weight, float(module.variance_epsilon))
    if name.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
        return partial(_normalise, module.weight, float(module.variance_epsilon))
    if name in ROTATING:
        return partial(_attend, module, rotation)
    return None


def _normalise(weight: torch.Tensor, epsilon: float, hidden_states: torch.Tensor) -> torch.Tensor:
    return nn.functional.rms_norm(hidden_states, weight.shape, weight, epsilon)


def _normalise_from_one(scale: torch.Tensor, epsilon: float, x: torch.Tensor) -> torch.Tensor:
    """`scale`: 1 + weight, float32."""
    return nn.functional.rms_norm(x.float(), scale.shape, scale, epsilon).to(x.dtype)


def _normalise_and_gate(
    weight: torch.Tensor, epsilon: float, hidden_states: torch.Tensor, gate: torch.Tensor
) -> torch.Tensor:
    normal = nn.functional.rms_norm(hidden_states, weight.shape, weight, epsilon)
    return (normal * nn.functional.silu(gate.float())).to(hidden_states.dtype)


class _Rotation:
    """Cosines and signed sines `[B, T, 1, D]` of a step, made once for all its layers."""

    def __init__(self) -> None:
        self._given: Any = None

    def rotate(self, heads: torch.Tensor, position_embeddings: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """`x cos + (-x2, x1) sin` of heads `[B, T, H, D]`, x1 and x2 their halves."""
        half = heads.shape[-1] // 2
        if self._given is not position_embeddings:
            cosine, sine = position_embeddings
            self._cosine = cosine[:, :, None]
            self._sine = torch.cat([-sine[..., :half], sine[..., half:]], dim=-1)[:, :, None]
            self._given = position_embeddings
        return torch.addcmul(heads * self._cosine, heads.roll(half, -1), self._sine)


def _attend(
    attention: Any,
    rotation: _Rotation,
    hidden_states: torch.Tensor,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    attention_mask: Any = None,
    past_key_values: Any = None,
    cache: Any = None,
    **options: Any,
) -> tuple[torch.Tensor, Any]:
    """The attention module's own forward, queries and keys rotated together.

    The KV cache is `past_key_values` up to transformers 5.23, and `cache` from 5.24 on.
    """
    shape = (*hidden_states.shape[:-1], -1, attention.head_dim)
    query, key = attention.q_proj(hidden_states).view(shape), attention.k_proj(hidden_states).view(shape)
    if hasattr(attention, "q_norm"):
        query, key = attention.q_norm(query), attention.k_norm(key)
    num_heads = query.shape[2]
    rotated = rotation.rotate(torch.cat([query, key], dim=2), position_embeddings).transpose(1, 2)
    value = attention.v_proj(hidden_states).view(shape).transpose(1, 2)
    kept = past_key_values if cache is None else cache
    keys, values = kept.update(rotated[:, num_heads:], value, attention.layer_idx)
    attend = ALL_ATTENTION_FUNCTIONS[attention.config._attn_implementation]
    out, weights = attend(
        attention,
        rotated[:, :num_heads],
        keys,
        values,
        attention_mask,
        dropout=0.0,
        scaling=attention.scaling,
        **options,
    )
    return attention.o_proj(out.reshape(*hidden_states.shape[:-1], -1).contiguous()), weights
