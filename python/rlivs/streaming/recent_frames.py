"""The last frames of a stream, and which questions are about them."""

from __future__ import annotations

import re
from collections import deque
from threading import Lock
from typing import Literal, cast, get_args

from rlivs.errors import InputError
from rlivs.video import Frame

AnswerFrom = Literal["memory", "recent-frames", "auto"]

_PRESENT = re.compile(
    r"\b(now|right now|currently|current|at the moment|at this moment|at present|presently|just now|still)\b", re.I
)


class RecentFrames:
    """The newest sampled frames, captioned or not. May be read from any thread."""

    def __init__(self, limit: int) -> None:
        self._frames: deque[Frame] = deque(maxlen=limit)
        self._lock = Lock()

    def add(self, frame: Frame) -> None:
        """Remember a frame; one that is not newer than the newest is known already."""
        with self._lock:
            if not self._frames or frame.time > self._frames[-1].time:
                self._frames.append(frame)

    def until(self, at: float | None) -> list[Frame]:
        """The frames shown by `at` seconds (None: all), oldest first."""
        with self._lock:
            return [frame for frame in self._frames if at is None or frame.time <= at]


def check_answer_from(answer_from: str) -> AnswerFrom:
    """`answer_from` if it is one of the ways to answer. Raises InputError."""
    if answer_from not in get_args(AnswerFrom):
        raise InputError(f"answer_from is '{answer_from}'; choose one of {', '.join(get_args(AnswerFrom))}")
    return cast(AnswerFrom, answer_from)


def asks_about_present(question: str) -> bool:
    """Whether a question says it is about this moment: it has "now", "currently", "at the moment", "still", ..."""
    return _PRESENT.search(question) is not None
