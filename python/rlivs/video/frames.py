"""A picture and the time it is shown: as RGB, and as the decoder leaves it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import av
import numpy as np
from av.video.reformatter import VideoReformatter


@dataclass(frozen=True)
class Frame:
    """An RGB picture shown from `time` until `end`.

    image: `[H, W, 3]` uint8 RGB. time, end: seconds since the start of the stream; `end` is None where it is
    not known (the next frame's time then ends it).
    """

    image: np.ndarray
    time: float
    end: float | None = None

    def later(self, seconds: float) -> Frame:
        """The same picture, `seconds` later."""
        return replace(self, time=self.time + seconds, end=None if self.end is None else self.end + seconds)


class DecodedFrame:
    """A decoded picture shown from `time` until `end` (seconds); `image` is made on the first reading.

    Most pictures of a video are decoded only because others depend on them: they are never turned to RGB.
    """

    def __init__(
        self, picture: av.VideoFrame, time: float, end: float, reformatter: VideoReformatter | None = None
    ) -> None:
        self.time = time
        self.end = end
        self._picture = picture
        self._reformatter = reformatter or VideoReformatter()

    def later(self, seconds: float) -> DecodedFrame:
        """The same picture, `seconds` later."""
        return DecodedFrame(self._picture, self.time + seconds, self.end + seconds, self._reformatter)

    @cached_property
    def image(self) -> np.ndarray:
        """`[H, W, 3]` uint8 RGB, upright (the rotation a phone notes in the file is applied)."""
        rgb = self._reformatter.reformat(self._picture, format="rgb24").to_ndarray()
        # PyAV gives the counter-clockwise rotation, a multiple of 90 in practice; 14.0 does not expose it.
        quarter_turns = round(getattr(self._picture, "rotation", 0) / 90) % 4
        return np.ascontiguousarray(np.rot90(rgb, quarter_turns)) if quarter_turns else rgb
