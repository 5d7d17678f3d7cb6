"""A matrix that grows by rows: every caption's embedding, ready for one product with a question's."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np

Item = TypeVar("Item")


class EmbeddingMatrix(Generic[Item]):
    """Rows `[n, dim]` float32 of consecutive clips, each with its caption and the time that ended; `next_clip` is yet
    to come.

    Grows by doubling: appending a row costs a copy of that row on average, not of the matrix.
    """

    def __init__(self, dim: int) -> None:
        self._rows = np.empty((0, dim), np.float32)
        self._ends = np.empty(0, np.float64)
        self._captions: list[Item] = []
        self.next_clip = 0

    def __len__(self) -> int:
        return len(self._captions)

    def append(self, clip: int, vector: bytes, end: float, caption: Item) -> None:
        """Append an embedding (little-endian float32 bytes), when its caption ended in seconds, and the caption.

        Raises ValueError or TypeError for what is no vector of `dim` numbers.
        """
        count = len(self)
        row = np.frombuffer(vector, "<f4")
        if len(row) != self._rows.shape[1]:  # one number would fill the row
            raise ValueError(f"{len(row)} numbers in place of {self._rows.shape[1]}")
        if count == len(self._rows):
            capacity = max(64, 2 * count)
            self._rows = _grown(self._rows, capacity)
            self._ends = _grown(self._ends, capacity)
        self._rows[count] = row
        self._ends[count] = end
        self._captions.append(caption)
        self.next_clip = clip + 1

    def forget_before(self, clip: int) -> None:
        """Let go of the rows of earlier clips; what was handed out before stays as it is."""
        first = self.next_clip - len(self)
        dropped = min(max(clip - first, 0), len(self))
        # The memory goes when the matrix grows next, which copies it.
        self._rows, self._ends = self._rows[dropped:], self._ends[dropped:]
        del self._captions[:dropped]
        self.next_clip = max(self.next_clip, clip)

    def ended_by(self, time: float | None) -> tuple[list[Item], np.ndarray]:
        """The captions that ended at `time` seconds or before (None: all), and their rows `[n, dim]`, not to be
        written to."""
        count = len(self)
        ended = np.ones(count, bool) if time is None else self._ends[:count] <= time
        seen = int(ended.sum())
        # Ends come in order, or nearly always do: then the rows are the first ones, and no copy is needed.
        if ended[:seen].all():
            captions, rows = self._captions[:seen], self._rows[:seen]
        else:
            captions = [self._captions[place] for place in np.flatnonzero(ended)]
            rows = self._rows[:count][ended]
        view = rows.view()
        view.flags.writeable = False
        return captions, view


def _grown(array: np.ndarray, capacity: int) -> np.ndarray:
    grown = np.empty((capacity, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
