"""What happened on a stream, in the order it was committed: captions and gaps, numbered without holes.

An entry's serial number counts the captions and gaps before it. It follows from a caption's clip and a gap's own number
and place, and stays the same when old entries are pruned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class StoredGap:
    """A stretch without captions. start, end: seconds of the stream; clip: the clip that came or comes after it."""

    number: int
    clip: int
    start: float
    end: float
    reason: str

    @property
    def serial(self) -> int:
        return self.number + self.clip


@dataclass(frozen=True)
class LogEntry(Generic[Item]):
    """A caption, or a gap, with its serial number, from 0."""

    serial: int
    item: Item


def merged(captions: Sequence[Item], first_clip: int, gaps: Sequence[StoredGap], gaps_before: int) -> list[LogEntry]:
    """Captions of the clips from `first_clip` on, and gaps, in order, after `gaps_before` other gaps."""
    entries: list[LogEntry] = []
    waiting = list(gaps)
    for clip, caption in enumerate(captions, start=first_clip):
        while waiting and waiting[0].clip <= clip:
            gaps_before = waiting[0].number + 1
            entries.append(LogEntry(waiting[0].serial, waiting.pop(0)))
        if waiting:
            gaps_before = waiting[0].number
        entries.append(LogEntry(clip + gaps_before, caption))
    return entries + [LogEntry(gap.serial, gap) for gap in waiting]
