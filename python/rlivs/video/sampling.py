"""Frames at regular times, by their timestamps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np

from rlivs.errors import InputError
from rlivs.video.frames import DecodedFrame, Frame


def sample_frames(
    frames: Iterable[Frame | DecodedFrame],
    fps: float,
    start: float = 0.0,
    duration: float | None = None,
    *,
    first_sample: int = 0,
) -> Iterator[Frame]:
    """The frame shown at `start + k / fps` for k = `first_sample`, `first_sample` + 1, ...

    Shown at t is the frame with the latest time <= t, and before the first frame the first one. The last frame
    is shown until its `end` (at its own time only, where `end` is None). `frames` come in order of time; `image`
    is read of those that are sampled only. Sampling stops at `start + duration` seconds when it is given.

    Yields frames whose `time` is the sampling time and whose `end` is the next one, or the end of the video if
    that is earlier: so each comes when the next is known. Raises InputError unless fps is positive and finite.
    """
    check_fps(fps)
    stop = math.inf if duration is None else start + duration
    return (
        Frame(image, time, end)
        for (image, time), (_, end) in pairwise(_images_and_times(frames, fps, start, stop, first_sample))
    )


def check_fps(fps: float) -> None:
    """Raise InputError unless `fps`, the frames sampled a second, is positive and finite."""
    if not (fps > 0 and math.isfinite(fps)):
        raise InputError(f"cannot sample {fps} frames a second; give a number above 0, for example 0.5")


def _images_and_times(
    frames: Iterable[Frame | DecodedFrame], fps: float, start: float, stop: float, sample: int
) -> Iterator[tuple[np.ndarray | None, float]]:
    """The sampled images and their times, then None and the time at which the last one ends."""
    frame: Frame | DecodedFrame | None = None
    for frame, until in _with_ends(frames):
        while start + sample / fps < min(until, stop):
            yield frame.image, start + sample / fps
            sample += 1
        if start + sample / fps >= stop:
            break
    if frame is not None:
        end = math.inf if frame.end is None else frame.end
        yield None, min(start + sample / fps, stop, end)


def _with_ends(
    frames: Iterable[Frame | DecodedFrame],
) -> Iterator[tuple[Frame | DecodedFrame, float]]:
    shown: Frame | DecodedFrame | None = None
    for frame in frames:
        if shown is not None:
            yield shown, frame.time
        shown = frame
    if shown is not None:
        yield shown, math.nextafter(shown.time, math.inf) if shown.end is None else shown.end
