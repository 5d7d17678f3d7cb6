"""Frames that are pushed one by one, sampled like those of a file."""

from __future__ import annotations

from rlivs.errors import InputError
from rlivs.video.frames import Frame


class Intake:
    """The frame shown at k / fps for k = `first_sample`, ..., out of frames pushed in order of time.

    The same rule as `rlivs.video.sample_frames`: shown at t is the frame with the latest time <= t, and before the
    first frame the first one.
    """

    def __init__(self, fps: float, first_sample: int = 0) -> None:
        self._fps = fps
        self._sample = first_sample
        self._shown: Frame | None = None

    def push(self, frame: Frame) -> list[Frame]:
        """The samples that are certain now that `frame` has come. Raises InputError when time runs backwards."""
        if self._shown is None:
            self._shown = frame
            return []
        if frame.time < self._shown.time:
            raise InputError(
                f"a frame of {frame.time:.3f} s came after one of {self._shown.time:.3f} s; push frames in order"
            )
        sampled = []
        while self._sample / self._fps < frame.time:
            sampled.append(self._take(self._shown))
        self._shown = frame
        return sampled

    def finish(self) -> list[Frame]:
        """The samples up to the last frame's own time."""
        sampled = []
        while self._shown is not None and self._sample / self._fps <= self._shown.time:
            sampled.append(self._take(self._shown))
        return sampled

    def _take(self, shown: Frame) -> Frame:
        time = self._sample / self._fps
        self._sample += 1
        return Frame(image=shown.image, time=time, end=self._sample / self._fps)
