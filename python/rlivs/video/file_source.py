"""Sources that wait for whoever reads them: video files, and frames made by a program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from os import PathLike
from typing import Any

import numpy as np

from rlivs.errors import InputError
from rlivs.video.frames import DecodedFrame, Frame
from rlivs.video.source import open_video
from rlivs.video.stream_source import Gap, SourceStatus, State


class _WaitingSource:
    """The counts of a source that is read in one thread and looked at from others."""

    live = False

    def __init__(self, name: str) -> None:
        self.name = name
        self._frames_in = 0
        self._state: State = "connecting"
        self._error: str | None = None
        self._closed = False

    def frames(self, start: float = 0.0) -> Iterator[Frame | DecodedFrame | Gap]:
        """Every frame from the one shown at `start` seconds on. Raises InputError where they break off."""
        self._state = "running"
        try:
            for frame in self._read(start):
                if self._closed:
                    break
                self._frames_in += 1
                yield frame
        except InputError as error:
            self._state, self._error = "failed", str(error)
            raise
        finally:
            if self._state == "running":
                self._state = "closed" if self._closed else "ended"

    def status(self) -> SourceStatus:
        return SourceStatus(frames_in=self._frames_in, state=self._state, error=self._error)

    def close(self) -> None:
        self._closed = True

    def _read(self, start: float) -> Iterator[Frame | DecodedFrame]:
        raise NotImplementedError


class FileSource(_WaitingSource):
    """A video file, or a film at an address: never dropped from, resumable at any time."""

    def __init__(
        self, path: str | PathLike[str], *, name: str | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        """`options`: FFmpeg's, for an address. Raises InputError for what is no readable video (see `open_video`)."""
        self._video = open_video(path, options=options)
        super().__init__(name or self._video.path)

    @property
    def duration(self) -> float | None:
        """Seconds, None where the file does not say."""
        return self._video.duration

    def _read(self, start: float) -> Iterator[Frame | DecodedFrame]:
        with closing(self._video.decode(start)) as frames:
            yield from frames


class FrameSource(_WaitingSource):
    """Frames from a program: `[H, W, 3]` uint8 RGB arrays, `rate` a second, or pairs of such an array and its time."""

    def __init__(self, frames: Iterable[Any], *, rate: float = 1.0, name: str = "frames") -> None:
        """`rate`: frames a second of arrays without a time. Raises InputError unless it is positive."""
        if not rate > 0:
            raise InputError(f"frames come at a rate above 0 a second, not {rate}")
        super().__init__(name)
        self._given = frames
        self._rate = rate

    def _read(self, start: float) -> Iterator[Frame | DecodedFrame]:
        held: Frame | None = None
        for index, item in enumerate(self._given):
            image, time = item if isinstance(item, tuple) else (item, index / self._rate)
            frame = Frame(check_image(image), float(time))
            # One is held back: shown at `start` is the last frame that is not later.
            if held is not None and frame.time > start:
                yield held
            held = frame
        if held is not None:
            yield held


def check_image(image: Any) -> np.ndarray:
    """`image` if it is a frame. Raises InputError for anything but `[H, W, 3]` uint8."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"a frame is {kind}; give uint8 RGB arrays [height, width, 3]")
    return image
