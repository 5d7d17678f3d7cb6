"""Frames in as they come, clips out as soon as they are full."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from rlivs.video.clips import VideoClip, make_clips
from rlivs.video.frames import DecodedFrame, Frame
from rlivs.video.sampling import Sampler

# A time of a grid of thirds of a second, say, must not count as later than itself.
_ROUNDING = 1e-6


class ClipBuilder:
    """Samples frames at `k / fps` seconds of the stream and groups the samples; the clips are numbered by their taker.

    Frames up to a gap, or up to the end, make clips of `frames_per_clip` and one that may be shorter; those of a file
    are the clips of `iter_clips`, if a full clip is held back until it is known whether the video goes on.
    """

    def __init__(self, fps: float, frames_per_clip: int, *, start: float = 0.0, hold_back: bool = False) -> None:
        """The first sample is the first of the grid that is not before `start` seconds."""
        self.fps, self.frames_per_clip = fps, frames_per_clip
        self._hold_back = hold_back
        self._sampler = self._sampler_from(start)
        self._pending: list[Frame] = []
        self._begun = True  # False: the next frame decides where the grid is taken up again

    @property
    def pending(self) -> tuple[Frame, ...]:
        """Samples that are not yet in a clip."""
        return tuple(self._pending)

    @property
    def next_time(self) -> float:
        """The time of the next sample, in seconds."""
        return self._sampler.next_time

    def skip(self) -> None:
        """The next frame comes after a gap: sampling goes on from there."""
        self._begun = False

    def push(self, frame: Frame | DecodedFrame) -> tuple[list[Frame], Iterator[VideoClip]]:
        """The new samples, and the clips they fill. A clip's array is made when it is its turn: where a picture is
        shown for long its samples share it, and the clips would not fit. Raises InputError for a frame earlier than
        the one before, or a day later.
        """
        if not self._begun:
            self._sampler = self._sampler_from(max(frame.time, self._sampler.next_time))
            self._begun = True
        samples = self._sampler.push(frame)
        return samples, self._clips(self._fill(samples))

    def cut(self) -> tuple[list[Frame], Iterator[VideoClip]]:
        """The last samples and clips before a gap or the end. The next frame begins a new clip."""
        samples, end = self._sampler.finish(), self._sampler.end
        groups = self._fill(samples)
        if self._pending:
            last = self._pending[-1]
            if end is not None and last.end is not None:
                self._pending[-1] = replace(last, end=min(end, last.end))
            groups.append(self._take())
        self.skip()
        return samples, self._clips(groups)

    def _fill(self, samples: list[Frame]) -> list[list[Frame]]:
        """The samples of each clip that is full now."""
        groups = []
        for sample in samples:
            if len(self._pending) == self.frames_per_clip:
                groups.append(self._take())
            self._pending.append(sample)
            if len(self._pending) == self.frames_per_clip and not self._hold_back:
                groups.append(self._take())
        return groups

    def _sampler_from(self, time: float) -> Sampler:
        return Sampler(self.fps, first_sample=math.ceil(time * self.fps - _ROUNDING))

    def _take(self) -> list[Frame]:
        frames, self._pending = self._pending, []
        return frames

    def _clips(self, groups: list[list[Frame]]) -> Iterator[VideoClip]:
        for frames in groups:
            yield from make_clips(frames, fps=self.fps, frames_per_clip=len(frames))
