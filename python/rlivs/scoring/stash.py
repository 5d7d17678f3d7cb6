"""The query rows of one layer that a caption may need, kept by absolute position."""

from __future__ import annotations

import torch

_SMALLEST = 64


class RowStash:
    """Post-RoPE query rows `[B, Hq, T, D]` at positions `first`, `first + 1`, .. of the sequence.

    A row written again replaces the earlier one, so decoding that rewinds (prompt lookup) leaves the last word.
    The buffers are kept and reused from clip to clip; `write_at` and `mark_at` allocate nothing and read nothing back,
    so they can be compiled and replayed. They are no inference tensors, which could not be written outside that mode.
    """

    def __init__(self) -> None:
        self._rows: torch.Tensor | None = None
        self._marks: torch.Tensor | None = None
        self._first: torch.Tensor | None = None
        self.first = 0
        self.lowest: int | None = None

    def restart(self, first: int) -> None:
        """Forget the rows; keep those from position `first` on from now."""
        self.first = first
        self.lowest = None
        if self._first is not None and self._marks is not None:
            self._first.fill_(first)
            self._marks.zero_()

    def write(self, query: torch.Tensor, start: int, limit: int) -> None:
        """Keep the rows of `query` `[B, Hq, T, D]`, the first of which is at position `start`; room up to `limit`."""
        low, high = max(start, self.first), start + query.shape[2]
        rows = self._reserve(query, limit - self.first)
        rows[:, :, low - self.first : high - self.first].copy_(query[:, :, low - start :])
        self.lowest = low if self.lowest is None else min(low, self.lowest)

    def write_at(self, query: torch.Tensor, position: torch.Tensor) -> None:
        """Keep one row `[B, Hq, 1, D]` at `position`, an int64 scalar on the device for which `write` made room.

        A row before `first` lands on the first one's place, which is written later: positions come in order.
        """
        assert self._rows is not None and self._first is not None
        self._rows.index_copy_(2, (position - self._first).clamp_(min=0), query)

    def mark_at(self, position: int | torch.Tensor) -> None:
        """Count that the row at `position`, an int or an int64 scalar on the device, was scored as it ran."""
        assert self._marks is not None and self._first is not None
        self._marks.index_add_(0, position - self._first, torch.ones_like(self._first))

    def marks(self, low: int) -> torch.Tensor:
        """Int64 `[n]`: how often each row from position `low` on was marked, for as far as there is room."""
        assert self._marks is not None
        return self._marks[low - self.first :]

    @property
    def num_heads(self) -> int:
        assert self._rows is not None
        return self._rows.shape[1]

    def rows(self, low: int, high: int) -> torch.Tensor:
        """`[B, Hq, high - low, D]`: the rows at positions low to high - 1, a view."""
        assert self._rows is not None
        return self._rows[:, :, low - self.first : high - self.first]

    def select(self, batch_rows: torch.Tensor) -> None:
        """Keep these batch rows only, in this order."""
        if self._rows is not None:
            with torch.inference_mode(False):
                self._rows = self._rows.index_select(0, batch_rows.to(self._rows.device))

    def _reserve(self, query: torch.Tensor, length: int) -> torch.Tensor:
        batch, num_heads, _, head_dim = query.shape
        old = self._rows
        same = old is not None and old.device == query.device and old.dtype == query.dtype
        if old is not None and same and (old.shape[0], old.shape[1], old.shape[3]) == (batch, num_heads, head_dim):
            if old.shape[2] >= length:
                return old
        else:
            self.lowest, old = None, None
        with torch.inference_mode(False):
            if old is None:
                rows = query.new_empty(batch, num_heads, max(length, _SMALLEST), head_dim)
                marks = torch.zeros(rows.shape[2], dtype=torch.int64, device=query.device)
            else:
                assert self._marks is not None
                rows = query.new_empty(batch, num_heads, max(length, 2 * old.shape[2]), head_dim)
                rows[:, :, : old.shape[2]].copy_(old)
                marks = torch.nn.functional.pad(self._marks, (0, rows.shape[2] - old.shape[2]))
            self._rows, self._marks = rows, marks
            self._first = torch.full((1,), self.first, dtype=torch.int64, device=query.device)
        if not torch.compiler.is_compiling():
            # Compiled decoding writes here in place; CUDA graphs are skipped for tensors whose address may change.
            for buffer in (self._rows, self._marks, self._first):
                torch._dynamo.mark_static_address(buffer)
        return rows
