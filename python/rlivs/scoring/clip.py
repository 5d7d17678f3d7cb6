"""One clip to be scored: its columns, and what the model was seen doing with it."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from threading import get_ident
from typing import Any

import torch
from transformers import Cache

from rlivs.errors import InputError
from rlivs.scoring.generation import Generation
from rlivs.scoring.masks import key_starts, last_row


class Clip:
    """Columns are positions in the padded prompt: `num_columns` from `starts[b]` on, one start for all rows, or B."""

    def __init__(
        self,
        columns: slice | Sequence[slice],
        include_last_prompt_row: bool,
        prompt_length: int | None,
        key_starts: Sequence[int] | None,
        rescore: bool,
    ) -> None:
        each = [columns] if isinstance(columns, slice) else columns
        if not isinstance(each, Sequence) or not all(isinstance(one, slice) for one in each):
            raise InputError(f"columns is {columns!r}; give slice(a, b), or a list of them, one a batch row")
        bounds = [_bounds(one) for one in each]
        lengths = {stop - start for start, stop in bounds}
        if len(lengths) != 1:
            raise InputError("columns must be one slice, or one slice a batch row, all of the same length")
        self.starts = tuple(start for start, _ in bounds)
        self.num_columns = lengths.pop()
        self.include_last_prompt_row = include_last_prompt_row
        self.generation: Generation | None = None
        self._last_column = max(self.starts) + self.num_columns - 1
        self._prompt_length = prompt_length
        self._key_starts = None if key_starts is None else torch.tensor(key_starts)
        self._rescore = rescore
        if key_starts is not None and rescore:
            raise InputError("mode 'rescore' reads where keys start from the attention mask; leave key_starts out")
        self._opener = self._thread = get_ident()
        self._restart()
        if prompt_length is not None:
            self._check_columns(prompt_length)

    def _restart(self) -> None:
        self.batch = 0
        self.end = 0
        self.cache: Cache | None = None
        self._mask: Any = None
        self._mask_id = id(None)
        self._positions: torch.Tensor | None = None
        self.last_position: torch.Tensor | None = None
        self._embedded = self._flat = self._spatial = False
        self._own: tuple[Cache | None] | None = None

    @property
    def first_row(self) -> int:
        """The earliest position whose query row may be needed: the last prompt row is no earlier."""
        return self._last_column

    def generates_here(self) -> bool:
        """Whether this thread is within a generate call of the clip's."""
        return get_ident() == self._thread and self.generation is not None and self.generation.running

    def may_generate(self) -> bool:
        """Whether a generate call that this thread begins is the clip's.

        In the thread that opened the clip it is; in another one, unless that thread has generated. Raises InputError
        beside a call of the clip's in another thread than the one that opened it: which is meant cannot be known.
        """
        if get_ident() == self._thread or self.generation is None:
            return True
        if self._thread == self._opener:
            return False
        if self.generation.running:
            raise InputError("another thread generates in this clip; wait for it, or generate where the clip is opened")
        return True

    def is_elsewhere(self) -> bool:
        """Whether this thread's calls are none of the clip's, because it was opened, or generate ran, in another."""
        return not torch.compiler.is_compiling() and self._thread != get_ident()

    def move_here(self) -> None:
        """From now on, this thread's calls are the clip's."""
        self._thread = get_ident()

    def see_generate(self, generation: Generation) -> None:
        """generate is about to run. Raises InputError for a way of decoding this mode cannot score."""
        if not self._rescore and generation.num_beams > 1:
            raise InputError("beam search reorders the cache; patch with mode='rescore', or use num_beams=1")
        if not generation.use_cache:
            self.check_may_lack_cache()
        self._check_columns(generation.prompt_length)
        self._restart()
        self.move_here()
        self.generation = generation
        self._embedded = generation.embedded

    def see_inputs(self, inputs_embeds: torch.Tensor | None, position_ids: torch.Tensor | None) -> None:
        """A forward call of the whole model; generate's own calls always have positions."""
        if inputs_embeds is not None and position_ids is None:
            self._embedded = True
        if self._rescore:  # learned positions have no module that `see_positions` could hear of
            self._positions = None if position_ids is None else position_ids[..., -1:].clone()

    def see_positions(self, position_ids: torch.Tensor) -> None:
        """Rotary positions `[B or 1, q]`, or `[axes, B, q]` under M-RoPE, of a call that is about to run."""
        if self._rescore:
            self._positions = position_ids[..., -1:].clone()
        if self._embedded and position_ids.dim() == 3 and position_ids.shape[2] > 1 and not self._spatial:
            self._spatial = bool((position_ids != position_ids[:1]).any())
            self._flat = not self._spatial

    def is_own(self, cache: Cache | None) -> bool:
        """Whether a call with this cache belongs to the text: generate's guidance runs another one beside it."""
        if self.generation is None:
            return True
        if self._own is None:
            self.own_cache(cache)
        return self._own is not None and cache is self._own[0]

    def own_cache(self, cache: Cache | None) -> Cache | None:
        """From now on, calls with this cache belong to the text."""
        self._own = (cache,)
        return cache

    def see_call(self, attention_mask: Any, end: int, batch: int, cache: Cache | None) -> None:
        """A forward call whose last query row is at position end - 1."""
        self._mask, self._mask_id = last_row(attention_mask), id(attention_mask)
        self.end, self.batch = end, batch
        if self._rescore:
            self.cache, self.last_position = cache, self._positions

    def check_may_lack_cache(self) -> None:
        """Raises InputError if this mode needs a KV cache."""
        if not self._rescore:
            raise InputError("the model runs without a KV cache; pass use_cache=True, or patch with mode='rescore'")

    def check_positions(self) -> None:
        """Raises InputError if embeddings of a video were fed to an M-RoPE model as if they were plain text."""
        if self._flat:
            raise InputError(
                "this model's positions have several axes (M-RoPE), and the embeddings came without: "
                "pass position_ids along with inputs_embeds"
            )

    def key_starts(self) -> torch.Tensor | None:
        """Int64 `[B]`: the first key each batch row sees, None without left padding."""
        if self._key_starts is None:
            return key_starts(self._mask, self.end, self.batch)
        if len(self._key_starts) != self.batch:
            raise InputError(
                f"key_starts has {len(self._key_starts)} entries for {self.batch} rows; give one a batch row"
            )
        return self._key_starts

    def is_mask(self, attention_mask: Any) -> bool:
        """Whether this is the very mask that `see_call` was given in the same forward call."""
        return id(attention_mask) == self._mask_id

    def check_mask(self, index: int, row: Any) -> None:
        """Raises InputError if by its own mask's `last_row` layer `index` sees other keys than the rest."""
        own, shared = key_starts(row, self.end, self.batch), self.key_starts()
        same = own is shared if own is None or shared is None else torch.equal(own, shared.to(own.device))
        if not same:
            raise InputError(f"layer {index} has an attention mask of its own; choose layers that share one")

    def starts_of(self, batch: int) -> tuple[int, ...]:
        """The first column of each of `batch` captions; one for all if they share it."""
        repeats = 1 if self.generation is None else self.generation.num_return_sequences
        starts = self.starts if len(self.starts) == 1 else tuple(s for s in self.starts for _ in range(repeats))
        if len(starts) not in (1, batch):
            raise InputError(
                f"columns has {len(self.starts)} slices for {batch} captions; give one, or one a batch row"
            )
        return starts

    @property
    def known_prompt_length(self) -> int | None:
        """Positions of the padded prompt, where given or known from generate."""
        if self._prompt_length is not None or self.generation is None:
            return self._prompt_length
        return self.generation.prompt_length

    def prompt_length(self, num_new: int, end: int) -> int:
        """Positions of the padded prompt, for a caption of `num_new` tokens after which `end` positions were fed.

        Where it is not known, the last caption token counts as not fed, as in any plain loop.
        """
        length = self.known_prompt_length
        length = end - num_new + 1 if length is None else length
        self._check_columns(length)
        return length

    def _check_columns(self, prompt_length: int) -> None:
        if self._last_column >= prompt_length:
            raise InputError(
                f"columns end at {self._last_column + 1}, beyond the prompt of {prompt_length} positions; "
                "give positions in the padded prompt"
            )


def _bounds(columns: slice) -> tuple[int, int]:
    try:
        start, stop = index(columns.start or 0), index(columns.stop)
    except TypeError:
        start, stop = 0, 0
    if columns.step not in (None, 1) or not 0 <= start < stop:
        raise InputError(f"columns {columns} are no range of prompt positions; give slice(a, b) with 0 <= a < b")
    return start, stop
