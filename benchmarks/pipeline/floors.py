"""The least a stage can take: bytes over the measured copy rate, products over the measured matrix rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from rlivs.scoring.layers import text_decoder


@dataclass(frozen=True)
class Rates:
    """Measured in the same run: bytes a second of a copy, floating-point operations a second of a matrix product."""

    bytes_per_second: float
    flops: float


class Floors:
    """Milliseconds that a model's stages take at least, each of its weights read once where that is what bounds it."""

    def __init__(self, model: Any, rates: Rates) -> None:
        decoder = text_decoder(model)
        config = decoder.config
        self._rates = rates
        self._matrices = sum(module.weight.numel() for module in decoder.modules() if isinstance(module, nn.Linear))
        self._head = model.get_output_embeddings().weight
        # The table of embeddings is not read by a step, but for one row; its head is, even where the two are one.
        self.step_bytes = _nbytes(decoder) - _nbytes(model.get_input_embeddings()) + self._head.nbytes
        self.weight_bytes = _nbytes(model)
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._attention = 4 * config.num_hidden_layers * config.num_attention_heads * head_dim
        values = 2 * config.num_hidden_layers * config.num_key_value_heads * head_dim
        self._position_bytes = values * self._head.element_size()
        self._tower = _tower(model)

    def step(self, tokens: int = 1, cached: int = 0) -> float:
        """Of `tokens` decode steps: the weights, and the keys and values of `cached` positions (of all captions), once
        a step each. At batch 1 the KV cache is left out."""
        return 1e3 * tokens * (self.step_bytes + cached * self._position_bytes) / self._rates.bytes_per_second

    def prefill(self, positions: int) -> float:
        """Of a prompt: its matrix products, causal attention included, and the head for the last position."""
        flops = 2 * self._matrices * positions + self._attention * positions**2 / 2 + 2 * self._head.numel()
        return 1e3 * flops / self._rates.flops

    def vision(self, patches: int) -> float:
        """Of the vision tower: its weight matrices for each patch (its attention and the projector are left out)."""
        return 1e3 * 2 * self._tower * patches / self._rates.flops


def _nbytes(module: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())


def _tower(model: Any) -> int:
    """Weights of the matrices in the blocks of the vision tower."""
    tower = getattr(model.model, "visual", None) or model.model.vision_tower
    blocks = next(module for module in tower.modules() if isinstance(module, nn.ModuleList) and len(module) > 1)
    return sum(module.weight.numel() for module in blocks.modules() if isinstance(module, nn.Linear))
