"""A service without a model: canned captions and answers, for what is the server's own."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Condition
from typing import Any, NamedTuple

import numpy as np

from rlivs.clock import COUNTED, Clock
from rlivs.errors import InputError


@dataclass(frozen=True)
class Status:
    stream: str
    source: str
    state: str
    clips: int
    lag_s: float | None = None
    frames_dropped: int = 0
    reconnects: int = 0
    tokens_per_s: float | None = None
    memory_bytes: int = 0
    last_error: str | None = None
    epoch: float | None = None


@dataclass(frozen=True)
class Event:
    serial: int
    kind: str
    stream: str
    data: dict


class Overlay(NamedTuple):
    clip: int
    image: np.ndarray
    time: float
    scores: np.ndarray
    selected: np.ndarray


class LatestFrame(NamedTuple):
    image: np.ndarray
    time: float
    overlay: Overlay | None


@dataclass(frozen=True)
class Cited:
    index: int
    start: float
    end: float
    text: str
    num_tokens: int = 7


@dataclass(frozen=True)
class Answer:
    question: str
    text: str
    at: float
    citations: tuple
    clock: Clock = COUNTED


@dataclass
class Stream:
    source: str = ""
    state: str = "idle"
    events: list[Event] = field(default_factory=list)
    latest: Any = None
    deleted: bool = False


class Subscription:
    def __init__(self, stream, changed, after):
        self._stream, self._changed, self._after = stream, changed, after

    @property
    def ended(self):
        return self._stream.deleted

    def get(self, timeout=0.0):
        with self._changed:
            fresh = lambda: [event for event in self._stream.events if event.serial > self._after]  # noqa: E731
            self._changed.wait_for(lambda: self._stream.deleted or fresh(), timeout)
            if self._stream.deleted or not fresh():
                return None
            self._after += 1
            return self._stream.events[self._after]


class FakeService:
    """Each pushed frame is a clip of 8 s with a caption of its own."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._streams: dict[str, Stream] = {}
        self.reply = ("a red ", "circle ", "moves left")
        self.pause = 0.0
        self.abandoned = 0

    def create(self, stream, *, source="", resume=False):
        with self._changed:
            if stream in self._streams and not resume:
                raise InputError(f"the memory already has a stream '{stream}'; resume it, or choose another name")
            self._streams.setdefault(stream, Stream(source))
        return self.status(stream)

    def delete(self, stream):
        with self._changed:
            self._get(stream).deleted = True
            del self._streams[stream]
            self._changed.notify_all()

    def attach(self, stream, source):
        with self._changed:
            held = self._get(stream)
            held.source, held.state = source.name, "ended"
        for index, frame in enumerate(source.frames()):
            if index % 8 == 0:
                self.push(stream, frame.image, frame.time)
        source.close()

    def detach(self, stream):
        with self._changed:
            self._get(stream).state = "idle"

    def push(self, stream, frame, time):
        with self._changed:
            held = self._get(stream)
            index = len(held.events)
            text = f"clip {index} shows something <b>new</b>"
            data = {"index": index, "start": 8.0 * index, "end": 8.0 * index + 8, "text": text, "selected": [0, 5]}
            held.events.append(Event(index, "caption", stream, data))
            scores = np.random.default_rng(index).random((4, 4), np.float32)
            held.latest = LatestFrame(
                frame, time, Overlay(index, frame, time, scores, scores > np.sort(scores, None)[12])
            )
            self._changed.notify_all()

    def ask(self, stream, question, *, at=None, answer_from="memory", on_text=None, timeout=None):
        with self._changed:
            events = list(self._get(stream).events)
        if not events:
            raise InputError("nothing had been captioned by 0:00; ask about a later moment")
        for piece in self.reply:
            time.sleep(self.pause)
            try:
                if on_text:
                    on_text(piece)
            except BaseException:
                self.abandoned += 1
                raise
        cited = tuple(Cited(*(e.data[k] for k in ("index", "start", "end", "text"))) for e in events[-2:])
        return Answer(question, "".join(self.reply), events[-1].data["end"] if at is None else at, cited)

    def subscribe(self, stream, after=-1):
        with self._changed:
            return Subscription(self._get(stream), self._changed, after)

    def status(self, stream):
        with self._changed:
            held = self._get(stream)
            return Status(stream, held.source, held.state, len(held.events), lag_s=0.25, memory_bytes=4096)

    def streams(self):
        with self._changed:
            names = list(self._streams)
            return [self.status(name) for name in names]

    def latest_frame(self, stream):
        with self._changed:
            return self._get(stream).latest

    def close(self):
        pass

    def _get(self, stream):
        if stream not in self._streams:
            raise InputError(f"the memory has no stream '{stream}'")
        return self._streams[stream]


def picture(red=200, side=64):
    image = np.zeros((side, side, 3), np.uint8)
    image[8:24, 8:24, 0] = red
    return image
