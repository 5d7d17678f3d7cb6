"""What is kept of one layer's attention calls while a caption is generated."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn
from transformers import Cache

from rlivs.errors import InputError
from rlivs.scoring.clip import Clip
from rlivs.scoring.masks import last_row
from rlivs.scoring.stash import RowStash
from rlivs.scoring.steps import StepSums, step_refusal


class LayerRecorder:
    """One layer's query rows, its newest keys `[B, Hkv, S, D]`, and how its logits are made.

    `end` is the number of positions fed so far: an int, or a scalar tensor where the cache counts on the device.
    The recorder that `leads` also speaks for all layers: it tells the clip of masks and caches, and the user of
    fallbacks. With `fused`, steps after the prompt are attended to and scored in one go, into `steps`.
    """

    def __init__(self, index: int, leads: bool, fused: bool) -> None:
        self.index = index
        self.stash = RowStash()
        self.steps = StepSums() if fused else None
        self.clip: Clip | None = None
        self._leads = leads
        self._warned = False
        self._counter: torch.Tensor | None = None
        self.forget()

    def start(self, clip: Clip) -> None:
        self.forget()
        self.stash.restart(clip.first_row)
        self.clip = clip

    def forget(self) -> None:
        """Let go of the keys and the cache; the buffers stay for the next clip."""
        self.key: torch.Tensor | None = None
        self.own_mask: tuple[Any] | None = None
        self.end: int | torch.Tensor = 0
        self.scale: float | None = None
        self.softcap: float | None = None
        self._cache: Cache | None = None
        self._prompt_done = False
        self._scored = False
        self._went_back = False

    @property
    def clip_here(self) -> Clip | None:
        """The clip, where this thread's calls are part of it."""
        return None if self.clip is None or self.clip.is_elsewhere() else self.clip

    def see_inputs(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook of the attention module: the attention function is not given the cache."""
        if self.clip_here is not None:
            self._cache = next((value for value in (*kwargs.values(), *args) if isinstance(value, Cache)), None)

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: dict[str, Any]
    ) -> torch.Tensor | None:
        """The layer's output `[B, 1, Hq, D]` where this step can be scored as it runs, None where it cannot.

        `record` must be told of the call all the same.
        """
        clip = self.clip_here
        if self.steps is None or clip is None or not self._prompt_done or not clip.is_own(self._cache):
            return None
        refusal = step_refusal(query, key, value, options)
        if refusal is not None:
            self._warn(refusal)
            return None
        length = self._length(clip, self._cache, key)
        if isinstance(length, int) and length <= (clip.known_prompt_length or 0):
            return None
        self._scored = True
        return self.steps.attend(query, key, value, length, options.get("scaling"))

    def record(self, query: torch.Tensor, key: torch.Tensor, attention_mask: Any, options: dict[str, Any]) -> None:
        """Keep the rows of one call: query `[B, Hq, q, D]` after RoPE, key `[B, Hkv, S, D]` with the cache's."""
        clip = self.clip_here
        if clip is None:
            return
        cache, self._cache = self._cache, None
        scored, self._scored = self._scored, False
        if not clip.is_own(cache):
            return
        query, length, num_rows = query.detach(), self._length(clip, cache, key), query.shape[2]
        if isinstance(length, torch.Tensor) and isinstance(self.end, torch.Tensor) and num_rows == 1:
            # The step that is compiled and replayed: all on the device, nothing but tensors changes.
            self.stash.write_at(query, length - 1)
            self.end.copy_(length)
            if scored:
                self.stash.mark_at(length - 1)
            return
        fed = int(length)
        if fed <= self.stash.first:
            return
        self._check(options)
        if self._prompt_done and fed - num_rows < int(self.end) and bool(self.stash.marks(fed - num_rows).any()):
            self._went_back = True
            self._warn("decoding went back over steps that were scored")
        self.stash.write(query, fed - num_rows, key.shape[2])
        if scored:
            self.stash.mark_at(fed - 1)
        self.end = self._count(length) if isinstance(length, torch.Tensor) else length
        self.key = key.detach()
        self.scale, self.softcap = options.get("scaling"), options.get("softcap")
        if self._leads:
            clip.see_call(attention_mask, fed, query.shape[0], cache)
        self.own_mask = None if clip.is_mask(attention_mask) else (last_row(attention_mask),)
        if self.steps is not None and not self._prompt_done:
            self._see_prompt(clip, self.steps, query, fed)

    def _count(self, length: torch.Tensor) -> torch.Tensor:
        """A copy of `length` at an address that stays, for compiled steps to write to."""
        if self._counter is None or self._counter.device != length.device:
            with torch.inference_mode(False):
                self._counter = torch.empty_like(length)
            if not torch.compiler.is_compiling():
                torch._dynamo.mark_static_address(self._counter)
        return self._counter.copy_(length)

    def _see_prompt(self, clip: Clip, steps: StepSums, query: torch.Tensor, fed: int) -> None:
        prompt_length = clip.known_prompt_length
        if prompt_length is None:
            self._warn("the prompt's length is not known (give it to clip)")
        elif fed >= prompt_length:
            steps.restart(query, clip.starts_of(query.shape[0]), clip.num_columns, clip.key_starts())
            self._prompt_done = True

    def _warn(self, reason: str) -> None:
        if self._leads and not self._warned and not torch.compiler.is_compiling():
            self._warned = True
            warnings.warn(
                f"mode='fused' scores some rows after generation instead, as mode='deferred' does: {reason}",
                stacklevel=2,
            )

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
        for name in ("s_aux", "sinks", "position_bias"):
            if options.get(name) is not None:
                raise InputError(f"layer {self.index} changes its attention by '{name}', which scoring does not cover")

    def step_sums(self, first: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        """What was scored as it ran: sums `[B, n]` over query heads and steps, and which rows from position `first` on
        are in them, bool `[T]`. None if there is nothing, or if a step ran again and its sums cannot be told apart."""
        if self.steps is None or not self._prompt_done or self._went_back:
            return None
        marks = self.stash.marks(first)[: int(self.end) - first]
        if bool((marks > 1).any()):
            return None
        assert self.steps.sums is not None
        return self.steps.sums, marks.bool()

    def check_rows(self, first: int, batch: int, num_rows: int) -> None:
        """Raises InputError unless there are `num_rows` rows from position `first` on for each of `batch` sequences."""
        assert self.key is not None
        if self.key.shape[0] != batch:
            raise InputError(
                f"got {batch} captions but the model ran {self.key.shape[0]}; pass the ids of every batch row"
            )
        if self.stash.lowest is None or first < self.stash.lowest or first + num_rows > int(self.end):
            raise InputError(
                f"the caption's rows are positions {first} to {first + num_rows - 1}, the clip ran "
                f"{self.stash.lowest} to {int(self.end) - 1}; run the prompt's end inside it, and pass every new id"
            )

    def select(self, batch_rows: torch.Tensor) -> None:
        """Keep these batch rows only, in this order."""
        self.stash.select(batch_rows)
        if self.key is not None:
            self.key = self.key.index_select(0, batch_rows.to(self.key.device))
