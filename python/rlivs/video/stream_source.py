"""What every source of frames is: files, cameras, network streams, frames made by a program."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from rlivs.video.frames import DecodedFrame, Frame

# The reason of a gap that was left because frames came faster than they could be taken.
OVERLOAD = "overload"

State = Literal["connecting", "running", "reconnecting", "ended", "failed", "closed"]


@dataclass(frozen=True)
class Gap:
    """A stretch of the stream without pictures. start, end: seconds of the stream."""

    start: float
    end: float
    reason: str


@dataclass(frozen=True)
class SourceStatus:
    """Counts since the source was opened. frames_in: decoded, those dropped included; error: the last one, if any."""

    frames_in: int = 0
    frames_dropped: int = 0
    reconnects: int = 0
    state: State = "connecting"
    error: str | None = None


class Source(Protocol):
    """Where frames come from.

    live: frames come at their own pace, so the newest matter and older ones may be dropped, which is counted; times
    count from the first frame. Otherwise nothing is dropped, times are those of the video itself, and `frames` may
    begin anywhere in it.
    """

    @property
    def name(self) -> str: ...

    @property
    def live(self) -> bool: ...

    def frames(self, start: float = 0.0) -> Iterator[Frame | DecodedFrame | Gap | SourceStatus]:
        """Frames in order of time, from the one shown at `start` on where the source is not live; a status where
        there is news and no frame: a camera that is not there, or is lost.

        Raises InputError where the source fails for good; ends where the video does, or after `close`.
        """
        ...

    def status(self) -> SourceStatus: ...

    def close(self) -> None:
        """Stop, from any thread; an iteration under way ends."""
        ...
