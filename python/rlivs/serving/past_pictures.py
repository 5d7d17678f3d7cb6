"""Pictures of clips that are no longer kept: decoded again from the stream's video file, with what memory knows."""

from __future__ import annotations

from threading import Lock

import numpy as np

from rlivs.errors import InputError
from rlivs.memory.store import CaptionStore
from rlivs.reports import ReportClip
from rlivs.serving.picture_book import KEPT_SIDE, overlaid_picture
from rlivs.serving.schemas import PictureOut
from rlivs.streaming.retelling import tell_clips
from rlivs.streaming.service_stream import Overlay

# One film is decoded at a time: a page that is scrolled asks for many pictures.
_turn = Lock()


def past_picture(store: CaptionStore, stream: str, clip: int) -> PictureOut | None:
    """The last frame of a clip with its scores and the tokens kept of it; None where no video file has it."""
    try:
        with _turn:
            told = next(tell_clips(store, stream, first=clip), None)
    except InputError:
        return None  # a camera, or a film that has gone
    return None if told is None or told.scores is None else overlaid_picture(_overlay(told, told.scores), KEPT_SIDE)


def _overlay(told: ReportClip, scores: np.ndarray) -> Overlay:
    rows, columns = told.grid
    size = rows * columns
    chosen = np.zeros(len(scores), bool)
    chosen[list(told.selected)] = True
    return Overlay(
        clip=told.index,
        image=told.frames[-1],
        time=told.times[-1],
        scores=scores[-size:].reshape(rows, columns),
        selected=chosen[-size:].reshape(rows, columns),
    )
