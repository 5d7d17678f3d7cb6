"""Pictures of streams with what captions attended to in them: the newest, and those of the clips before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock, Thread
from typing import Any

import numpy as np

from rlivs.errors import InputError
from rlivs.reports.cells import outline_path, surroundings_path
from rlivs.reports.colours import normalise_scores, score_range, score_text
from rlivs.reports.pictures import heat_uri, jpeg_uri, shrink_frames
from rlivs.serving.opening import STORED
from rlivs.serving.schemas import OverlayOut, PictureOut
from rlivs.serving.service import Service

# Pictures kept a stream; at about 25 KB each, 12 MB.
KEPT = 500
SHOWN_SIDE, KEPT_SIDE = 640, 480
_LOOK = 1.0

Past = Callable[[str, int], PictureOut | None]  # (stream, clip) -> its picture


class PictureBook:
    """Keeps the picture of each clip captioned since the server started; in memory, the oldest go first.

    A thread a stream follows its captions, from the first time the stream is seen until it is deleted. It leaves out
    clips that come faster than it can draw them; `past` may know their pictures, and those of earlier clips.
    """

    def __init__(self, service: Service, past: Past | None = None) -> None:
        self._service = service
        self._past = past
        self._lock = Lock()
        self._kept: dict[str, OrderedDict[int, PictureOut]] = {}
        self._closed = False

    def now(self, stream: str, *, newest: bool) -> PictureOut | None:
        """The last frame of the newest captioned clip; with `newest`, or where there is none, the newest frame.

        Where no frame has come since the server started, that clip's picture, if it can be made again.
        """
        self.watch(stream)
        found = self._service.latest_frame(stream)
        if found is None:
            return self.of_clip(stream, self._service.status(stream).clips - 1)
        if newest or found.overlay is None:
            return picture_of(found.image, found.time, SHOWN_SIDE)
        return overlaid_picture(found.overlay, SHOWN_SIDE)

    def of_clip(self, stream: str, clip: int) -> PictureOut | None:
        """The picture of a clip, if it is kept or can be made again."""
        with self._lock:
            kept = self._kept.get(stream)
            found = None if kept is None else kept.get(clip)
        if found is None and self._past is not None and clip >= 0:
            found = self._past(stream, clip)
            if found is not None and kept is not None:
                self._keep(kept, clip, found)
        return found

    def watch(self, stream: str) -> None:
        """Keep the pictures of this stream's clips from now on."""
        with self._lock:
            if self._closed or stream in self._kept:
                return
            kept: OrderedDict[int, PictureOut] = OrderedDict()
            self._kept[stream] = kept
        Thread(target=self._follow, args=(stream, kept), name=f"pictures of {stream}", daemon=True).start()

    def watch_all(self) -> None:
        """`watch` every stream that is open."""
        for status in self._service.streams():
            if str(status.state) != STORED:
                self.watch(status.stream)

    def forget(self, stream: str) -> None:
        with self._lock:
            self._kept.pop(stream, None)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._kept.clear()

    def _follow(self, stream: str, kept: OrderedDict[int, PictureOut]) -> None:
        try:
            captioned = self._service.status(stream).clips
            # A clip's serial number is its index or, after gaps, higher.
            events = self._service.subscribe(stream, captioned - 1)
            while not events.ended and self._kept.get(stream) is kept:
                event = events.get(timeout=_LOOK)
                if event is None or event.kind != "caption" or event.data["index"] < captioned:
                    continue
                found = self._service.latest_frame(stream)
                if found is None or found.overlay is None:
                    continue
                self._keep(kept, found.overlay.clip, overlaid_picture(found.overlay, KEPT_SIDE))
        except InputError:
            pass  # the stream was deleted
        finally:
            with self._lock:
                if self._kept.get(stream) is kept:
                    del self._kept[stream]

    def _keep(self, kept: OrderedDict[int, PictureOut], clip: int, picture: PictureOut) -> None:
        with self._lock:
            kept[clip] = picture
            while len(kept) > KEPT:
                kept.popitem(last=False)


def picture_of(image: np.ndarray, time: float, side: int) -> PictureOut:
    """A frame `[H, W, 3]` uint8 RGB as the page shows it, its longer side at most `side` pixels."""
    small = shrink_frames(image[None], side)[0]
    height, width = small.shape[:2]
    return PictureOut(time=time, width=width, height=height, image=jpeg_uri(small), clip=None, overlay=None)


def overlaid_picture(overlay: Any, side: int) -> PictureOut:
    """`picture_of` with what the caption attended to: scores and selected, both `[rows, cols]`."""
    rows, cols = overlay.selected.shape
    low, high = score_range(overlay.scores)
    shown = OverlayOut(
        rows=rows,
        cols=cols,
        kept=int(overlay.selected.sum()),
        surroundings=surroundings_path(overlay.selected),
        outline=outline_path(overlay.selected),
        heat=heat_uri(normalise_scores(overlay.scores)),
        low=score_text(low),
        high=score_text(high),
    )
    return picture_of(overlay.image, overlay.time, side).model_copy(update={"clip": overlay.clip, "overlay": shown})
