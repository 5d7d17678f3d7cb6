"""A matrix that grows by rows: every caption's embedding, ready for one product with a question's."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class EmbeddingMatrix:
    """Rows `[n, dim]` float32 of consecutive clips with the time each caption ended; `next_clip` is yet to come.

    Grows by doubling: appending a row costs a copy of that row on average, not of the matrix.
    """

    def __init__(self, dim: int) -> None:
        self._rows = np.empty((0, dim), np.float32)
        self._ends = np.empty(0, np.float64)
        self._count = 0
        self.next_clip = 0

    def __len__(self) -> int:
        return self._count

    def extend(self, rows: Iterable[tuple[bytes, float]]) -> None:
        """Append embeddings (little-endian float32 bytes) and their end times in seconds."""
        for vector, end in rows:
            if self._count == len(self._rows):
                capacity = max(64, 2 * self._count)
                self._rows = _grown(self._rows, capacity)
                self._ends = _grown(self._ends, capacity)
            self._rows[self._count] = np.frombuffer(vector, "<f4")
            self._ends[self._count] = end
            self._count += 1
            self.next_clip += 1

    def forget_before(self, clip: int) -> None:
        """Let go of the rows of earlier clips; arrays handed out before stay as they are."""
        first = self.next_clip - self._count
        dropped = min(max(clip - first, 0), self._count)
        # The memory goes when the matrix grows next, which copies it.
        self._rows, self._ends = self._rows[dropped:], self._ends[dropped:]
        self._count -= dropped
        self.next_clip = max(self.next_clip, clip)

    def ended_by(self, time: float | None) -> np.ndarray:
        """The rows `[n, dim]` whose captions ended at `time` or before (None: all). Not to be written to."""
        if time is None:
            rows = self._rows[: self._count]
        else:
            ended = self._ends[: self._count] <= time
            count = int(ended.sum())
            # Ends come in order, or nearly always do: then the rows are the first ones, and no copy is needed.
            rows = self._rows[:count] if ended[:count].all() else self._rows[: self._count][ended]
        view = rows.view()
        view.flags.writeable = False
        return view


def _grown(array: np.ndarray, capacity: int) -> np.ndarray:
    grown = np.empty((capacity, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
