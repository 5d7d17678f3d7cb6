"""Frames at regular times, by their timestamps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import takewhile

from rlivs.errors import InputError
from rlivs.video.frames import DecodedFrame, Frame

# Seconds that one picture may be shown. It may be long, but not the decades between 1970 and a time of day.
LONGEST_SHOWN = 24 * 3600.0


class Sampler:
    """The frame shown at `start + k / fps` for k = `first_sample`, `first_sample` + 1, ... as frames come in.

    Shown at t is the frame with the latest time <= t, and before the first frame the first one: so a sample is
    known when a later frame comes; it ends where the next one is due. `image` is read of those frames only that are
    sampled. Times in seconds.
    """

    def __init__(self, fps: float, start: float = 0.0, first_sample: int = 0) -> None:
        """Raises InputError unless `fps`, the samples a second, is positive and finite."""
        check_fps(fps)
        self._fps = fps
        self._start = start
        self._next_sample = first_sample
        self._shown: Frame | DecodedFrame | None = None

    @property
    def next_time(self) -> float:
        """The time of the next sample."""
        # From the count, not by adding steps: a run resumed in the middle has the same times to the last bit.
        return self._start + self._next_sample / self._fps

    @property
    def end(self) -> float | None:
        """When the latest frame ends; None where it does not say, or none has come."""
        return None if self._shown is None else self._shown.end

    def push(self, frame: Frame | DecodedFrame) -> list[Frame]:
        """Take the next frame in order of time; the samples before it, which show the frames that came earlier.

        Raises InputError for a frame that is earlier than the one before it, or a day later.
        """
        if self._shown is not None and frame.time < self._shown.time:
            raise InputError(
                f"a frame at {frame.time:.3f} s came after one at {self._shown.time:.3f} s; give them in order of time"
            )
        if self._shown is not None and frame.time - self._shown.time > LONGEST_SHOWN:
            raise InputError(
                f"the timestamps leap from {self._shown.time:.3f} s to {frame.time:.3f} s; "
                "write the video again with timestamps that go on"
            )
        samples = self._until(frame.time)
        self._shown = frame
        return samples

    def finish(self) -> list[Frame]:
        """The remaining samples: until the last frame ends (up to its own time, where it does not say)."""
        if self._shown is None:
            return []
        end = math.nextafter(self._shown.time, math.inf) if self._shown.end is None else self._shown.end
        return self._until(end)

    def _until(self, end: float) -> list[Frame]:
        samples = []
        while self._shown is not None and self.next_time < end:
            time = self.next_time
            self._next_sample += 1
            samples.append(Frame(self._shown.image, time, self.next_time))
        return samples


def sample_frames(
    frames: Iterable[Frame | DecodedFrame],
    fps: float,
    start: float = 0.0,
    duration: float | None = None,
    *,
    first_sample: int = 0,
) -> Iterator[Frame]:
    """The frame shown at each sampling time `start + k / fps`, k from `first_sample` on (see `Sampler`).

    `frames` come in order of time. Sampling stops at `start + duration` seconds when it is given, else at the end
    of the last frame. Yields frames whose `time` is the sampling time and whose `end` is the next one, or the end of
    the video if that is earlier: so each comes when the next is known. Raises InputError unless fps is positive and
    finite, and for frames out of order.
    """
    sampler = Sampler(fps, start, first_sample)
    return _with_ends(frames, sampler, math.inf if duration is None else start + duration)


def check_fps(fps: float) -> None:
    """Raise InputError unless `fps`, the frames sampled a second, is positive and finite."""
    if not (fps > 0 and math.isfinite(fps)):
        raise InputError(f"cannot sample {fps} frames a second; give a number above 0, for example 0.5")


def _with_ends(frames: Iterable[Frame | DecodedFrame], sampler: Sampler, stop: float) -> Iterator[Frame]:
    held: Frame | None = None
    for sample in takewhile(lambda sample: sample.time < stop, _samples(frames, sampler, stop)):
        if held is not None:
            yield replace(held, end=sample.time)
        held = sample
    if held is not None:
        end = math.inf if sampler.end is None else sampler.end
        yield replace(held, end=min(sampler.next_time, end, stop))


def _samples(frames: Iterable[Frame | DecodedFrame], sampler: Sampler, stop: float) -> Iterator[Frame]:
    for frame in frames:
        yield from sampler.push(frame)
        if frame.time >= stop:  # not before: the video may end between the last sample and `stop`
            break
    yield from sampler.finish()
