"""Pictures of clips that are no longer kept: decoded again from the stream's video file, with what memory knows."""

from __future__ import annotations

from threading import Lock

from rlivs.errors import InputError
from rlivs.memory.store import CaptionStore
from rlivs.serving.picture_book import KEPT_SIDE, overlaid_picture
from rlivs.serving.schemas import PictureOut
from rlivs.streaming.overlay import Overlay
from rlivs.streaming.retelling import tell_clips

# One film is decoded at a time: a page that is scrolled asks for many pictures.
_turn = Lock()


def past_picture(store: CaptionStore, stream: str, clip: int) -> PictureOut | None:
    """The last frame of a clip with its scores and the tokens kept of it; None where no video file has it."""
    try:
        with _turn:
            told = next(tell_clips(store, stream, first=clip), None)
    except InputError:
        return None  # a camera, or a film that has gone
    if told is None or told.scores is None:
        return None
    overlay = Overlay.of_last_frame(told, told.scores, told.frames, told.times)
    return overlaid_picture(overlay, KEPT_SIDE)
