"""What is kept of one layer's attention calls while a caption is generated."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import Cache

from rlivs.errors import InputError
from rlivs.scoring.clip import Clip
from rlivs.scoring.stash import RowStash


class LayerRecorder:
    """One layer's query rows, its newest keys `[B, Hkv, S, D]`, and how its logits are made.

    `end` is the number of positions fed so far: an int, or a scalar tensor where the cache counts on the device.
    The recorder that `leads` also tells the clip what is the same for all layers: the mask and the cache.
    """

    def __init__(self, index: int, leads: bool) -> None:
        self.index = index
        self.stash = RowStash()
        self.clip: Clip | None = None
        self._leads = leads
        self.forget()

    def start(self, clip: Clip) -> None:
        self.forget()
        self.stash.restart(clip.first_row)
        self.clip = clip

    def forget(self) -> None:
        """Let go of the keys and the cache; the buffer of rows stays for the next clip."""
        self.key: torch.Tensor | None = None
        self.end: int | torch.Tensor = 0
        self.scale: float | None = None
        self.softcap: float | None = None
        self._cache: Cache | None = None

    def see_inputs(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook of the attention module: the attention function is not given the cache."""
        if self.clip is not None:
            self._cache = next((value for value in (*kwargs.values(), *args) if isinstance(value, Cache)), None)

    def record(self, query: torch.Tensor, key: torch.Tensor, attention_mask: Any, options: dict[str, Any]) -> None:
        """Keep the rows of one call: query `[B, Hq, q, D]` after RoPE, key `[B, Hkv, S, D]` with the cache's."""
        clip, cache, self._cache = self.clip, self._cache, None
        if clip is None:
            return
        query, length, num_rows = query.detach(), self._length(clip, cache, key), query.shape[2]
        if isinstance(length, torch.Tensor) and isinstance(self.end, torch.Tensor) and num_rows == 1:
            # The step that is compiled and replayed: all on the device, nothing but tensors changes.
            self.stash.write_at(query, length - 1, key.shape[2])
            self.end.copy_(length)
            return
        fed = int(length)
        if fed <= self.stash.first:
            return
        self._check(options)
        self.stash.write(query, fed - num_rows, key.shape[2])
        self.end = length.clone() if isinstance(length, torch.Tensor) else length
        self.key = key.detach()
        self.scale, self.softcap = options.get("scaling"), options.get("softcap")
        if self._leads:
            clip.see_call(attention_mask, fed, query.shape[0], cache)

    def _length(self, clip: Clip, cache: Cache | None, key: torch.Tensor) -> int | torch.Tensor:
        """Positions fed so far, this call's included."""
        if cache is None:
            clip.check_may_lack_cache()
            return key.shape[2]
        length = cache.get_seq_length(self.index)
        if isinstance(length, int) and length != key.shape[2]:
            raise InputError(
                f"layer {self.index}'s cache holds {key.shape[2]} of {length} keys; use a cache that keeps all of them"
            )
        return length

    def _check(self, options: dict[str, Any]) -> None:
        if options.get("sliding_window") is not None:
            raise InputError(
                f"layer {self.index} attends to a sliding window; choose full-attention layers, or layers='auto'"
            )
        for name in ("s_aux", "position_bias"):
            if options.get(name) is not None:
                raise InputError(f"layer {self.index} changes its attention by '{name}', which scoring does not cover")

    def check_rows(self, first: int, batch: int, num_rows: int) -> None:
        """Raises InputError unless there are `num_rows` rows from position `first` on for each of `batch` sequences."""
        assert self.key is not None
        if self.key.shape[0] != batch:
            raise InputError(
                f"got {batch} captions but the model ran {self.key.shape[0]}; pass the ids of every batch row"
            )
        if num_rows == 0:
            raise InputError("a caption of one token has no row of its own; use include_last_prompt_row=True")
        if self.stash.lowest is None or first < self.stash.lowest or first + num_rows > int(self.end):
            raise InputError(
                f"the caption's rows are positions {first} to {first + num_rows - 1}, the clip ran "
                f"{self.stash.lowest} to {int(self.end) - 1}; run the prompt's end inside the clip, and pass every new id"
            )

    def select(self, batch_rows: torch.Tensor) -> None:
        """Keep these batch rows only, in this order."""
        self.stash.select(batch_rows)
        if self.key is not None:
            self.key = self.key.index_select(0, batch_rows.to(self.key.device))
