"""Clips: runs of sampled frames, the unit that is captioned."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from os import PathLike

import av
import numpy as np

from rlivs.errors import InputError
from rlivs.video.frames import DecodedFrame, Frame
from rlivs.video.sampling import check_fps, sample_frames
from rlivs.video.source import open_video

__all__ = ["DecodedFrame", "Frame", "VideoClip", "count_clips", "iter_clips", "make_clips"]


@dataclass(frozen=True)
class VideoClip:
    """Consecutive sampled frames of one size.

    frames: `[n, H, W, 3]` uint8 RGB, 1 <= n <= frames_per_clip (fewer in the last clip of a video only).
    times: the n sampling times; start: the first of them; end: the start of the next clip, or the end of the
    video. All in seconds since the start of the stream.
    """

    index: int
    frames: np.ndarray
    times: tuple[float, ...]
    start: float
    end: float


def make_clips(
    sampled: Iterable[Frame],
    *,
    fps: float,
    frames_per_clip: int = 16,
    first_index: int = 0,
    end: float | None = None,
) -> Iterator[VideoClip]:
    """Group sampled frames into clips of `frames_per_clip`, numbered from `first_index`; the last may be short.

    A clip ends where its last frame does (1 / fps after it, where the frame does not say), and never after
    `end` seconds. Frames of another size than the clip's first are resized to it (bicubic). Raises InputError
    if frames_per_clip is below 1.
    """
    _check_frames_per_clip(frames_per_clip)
    return _make_clips(sampled, fps, frames_per_clip, first_index, math.inf if end is None else end)


def _make_clips(
    sampled: Iterable[Frame], fps: float, frames_per_clip: int, index: int, stop: float
) -> Iterator[VideoClip]:
    # One array a clip, filled as frames come: never a list of frames beside it.
    frames: np.ndarray | None = None
    times: list[float] = []
    end = 0.0
    for frame in sampled:
        if frames is None:
            frames = np.empty((frames_per_clip, *frame.image.shape), np.uint8)
        frames[len(times)] = _resized(frame.image, *frames.shape[1:3])
        times.append(frame.time)
        end = min(frame.time + 1 / fps if frame.end is None else frame.end, stop)
        if len(times) == frames_per_clip:
            yield VideoClip(index, frames, tuple(times), times[0], end)
            frames, times, index = None, [], index + 1
    if frames is not None:
        yield VideoClip(index, frames[: len(times)], tuple(times), times[0], end)


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return picture.reformat(width=width, height=height, interpolation="BICUBIC").to_ndarray()


def iter_clips(
    path: str | PathLike[str], *, fps: float, frames_per_clip: int = 16, first_clip: int = 0
) -> Iterator[VideoClip]:
    """The clips of a video file from number `first_clip` on, exactly as a run from the start gives them.

    Holds one clip and a few decoded pictures, however long the video. Raises InputError for a file that is no
    readable video (see `open_video`), for settings out of range, and, after the good clips, where decoding
    breaks off.
    """
    check_fps(fps)
    _check_frames_per_clip(frames_per_clip)
    if first_clip < 0:
        raise InputError(f"there is no clip {first_clip}; the first is 0")
    first_sample = first_clip * frames_per_clip
    with open_video(path) as video, closing(video.decode(first_sample / fps)) as decoded:
        sampled = sample_frames(decoded, fps, first_sample=first_sample)
        yield from make_clips(sampled, fps=fps, frames_per_clip=frames_per_clip, first_index=first_clip)


def count_clips(path: str | PathLike[str], *, fps: float, frames_per_clip: int = 16) -> int | None:
    """How many clips `iter_clips` will give by the file's own duration; None where the file states none."""
    check_fps(fps)
    _check_frames_per_clip(frames_per_clip)
    with open_video(path) as video:
        if video.duration is None:
            return None
        return max(1, math.ceil(video.duration * fps / frames_per_clip))


def _check_frames_per_clip(frames_per_clip: int) -> None:
    if frames_per_clip < 1:
        raise InputError(f"a clip of {frames_per_clip} frames is impossible; give at least 1")
