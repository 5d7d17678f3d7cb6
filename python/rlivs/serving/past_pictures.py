"""Pictures of clips from before: decoded again from the stream's video file, marked from the caption memory."""

from __future__ import annotations

import os
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from rlivs.errors import InputError
from rlivs.serving.picture_book import SHOWN_SIDE, overlaid_picture
from rlivs.serving.schemas import PictureOut
from rlivs.video import open_video

if TYPE_CHECKING:
    from rlivs.memory.store import CaptionStore


def past_picture(store: CaptionStore, stream: str, clip: int) -> PictureOut | None:
    """The last frame of a captioned clip with its scores and kept tokens.

    None where the stream's source is no file that is still there, or the clip's scores are not in the memory.
    """
    try:
        info = store.stream(stream)
        caption = next((each for each in store.captions(stream) if each.index == clip), None)
        scores = store.scores(stream, clip)
        if caption is None or scores is None or not os.path.isfile(info.source):
            return None
        rows, cols = info.settings["grid"]
        size = rows * cols
        frames = len(scores) // size
        moment = caption.start + (frames - 1) / info.settings["fps"]
        with closing(open_video(info.source).decode(moment)) as pictures:
            shown = next(pictures, None)
    except (InputError, KeyError):  # pruned meanwhile, a file that changed, settings of another version
        return None
    if shown is None or frames < 1:
        return None
    selected = np.zeros(len(scores), bool)
    selected[list(caption.selected)] = True
    seen = SimpleNamespace(
        clip=clip,
        image=shown.image,
        time=moment,
        scores=scores[-size:].reshape(rows, cols),
        selected=selected[-size:].reshape(rows, cols),
    )
    return overlaid_picture(seen, SHOWN_SIDE)
