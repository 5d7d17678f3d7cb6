"""Decode steps that score as they attend: one kernel gives the layer's output and adds up what its columns receive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

import rlivs_kernels


class StepSums:
    """The attention one layer's decode steps gave the clip's columns: `sums[b, n]`, over query heads and steps.

    The buffers are kept from clip to clip where they fit, so compiled steps and CUDA graphs find them again.
    """

    def __init__(self) -> None:
        self.sums: torch.Tensor | None = None
        self._column_starts: torch.Tensor | None = None
        self._key_starts: torch.Tensor | None = None

    def restart(
        self, query: torch.Tensor, starts: Sequence[int], num_columns: int, key_starts: torch.Tensor | None
    ) -> None:
        """Begin at zero, for queries like `query` of batch rows whose keys begin at `key_starts` `[B]`."""
        shape = (query.shape[0], num_columns)
        dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
        old = self.sums
        if old is None or old.shape != shape or old.dtype != dtype or old.device != query.device:
            with torch.inference_mode(False):  # else they could not be written outside that mode
                self.sums = torch.empty(shape, dtype=dtype, device=query.device)
                self._column_starts = torch.empty(shape[0], dtype=torch.int32, device=query.device)
                self._key_starts = torch.empty_like(self._column_starts)
            if not torch.compiler.is_compiling():
                for buffer in (self.sums, self._column_starts, self._key_starts):
                    torch._dynamo.mark_static_address(buffer)
        assert self.sums is not None and self._column_starts is not None and self._key_starts is not None
        self.sums.zero_()
        self._column_starts.copy_(torch.tensor(starts, dtype=torch.int32).expand(shape[0]))
        self._key_starts.copy_(torch.zeros(()) if key_starts is None else key_starts)

    def attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        length: int | torch.Tensor,
        scale: float | None,
    ) -> torch.Tensor:
        """The layer's output `[B, 1, Hq, D]` for one step: query `[B, Hq, 1, D]`, `length` valid keys and values."""
        assert self.sums is not None and self._column_starts is not None
        out, _ = rlivs_kernels.decode_attention(
            query,
            key,
            value,
            key_lengths=length,
            key_start=self._key_starts,
            column_range=(self._column_starts, self.sums.shape[1]),
            column_sums=self.sums,
            scale=scale,
        )
        return out.transpose(1, 2).contiguous()


def step_refusal(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: dict[str, Any]) -> str | None:
    """Why a call after the prompt must use the layer's own attention, or None if `StepSums.attend` can serve it."""
    if query.shape[2] != 1:
        return "several positions are fed at once"
    if key.shape != value.shape or not query.dtype == key.dtype == value.dtype:
        return "keys and values differ in size, or have another dtype than queries"
    if query.requires_grad:
        return "gradients are asked for"
    for name in ("softcap", "dropout", "output_attentions"):
        if options.get(name):
            return f"the layer's attention has {name}={options[name]}"
    return None
