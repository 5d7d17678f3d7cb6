"""What a caption memory holds of a stream, told again as a report: frames from the video, the rest from memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rlivs.errors import InputError
from rlivs.memory.store import CaptionStore, StreamInfo
from rlivs.reports import Citation, Report, ReportAnswer, ReportClip, shrink_frames
from rlivs.streaming.answering import Answer
from rlivs.video import VideoClip, iter_clips
from rlivs.video.live import is_address

# A page with more clips than this grows past what a browser opens gladly.
MOST_CLIPS = 120
PICTURE_SIDE = 128


def tell_clips(
    store: CaptionStore, stream: str, *, first: int = 0, expected: Mapping[int, str] | None = None
) -> Iterator[ReportClip]:
    """The captioned clips of `stream` from `first` on, each with its frames, scores and kept tokens.

    Where the model merges frames into a step of visual tokens, the last frame of each step stands for it.

    `expected` maps a clip's index to the caption a script gives it. Raises InputError when the video is gone.
    """
    info = store.stream(stream)
    source = _source_file(info)
    captions = {caption.index: caption for caption in store.captions(stream)}
    settings = info.settings
    clips = iter_clips(source, fps=settings["fps"], frames_per_clip=settings["frames_per_clip"], first_clip=first)
    for clip in clips:
        caption = captions.get(clip.index)
        if caption is None:
            return
        scores = store.scores(stream, clip.index)
        steps, rows, columns = store.grid(stream, clip.index) or _usual_grid(info, clip, scores)
        shown = _last_of_steps(len(clip.frames), steps)
        yield ReportClip(
            index=clip.index,
            start=caption.start,
            end=caption.end,
            caption=caption.text,
            expected=(expected or {}).get(clip.index),
            frames=clip.frames[shown],
            times=tuple(clip.times[place] for place in shown),
            scores=scores,
            selected=caption.selected,
            grid=(rows, columns),
        )


def tell(
    store: CaptionStore,
    stream: str,
    *,
    title: str,
    answers: Sequence[ReportAnswer] = (),
    expected: Mapping[int, str] | None = None,
    figures: Mapping[str, str] | None = None,
) -> Report:
    """The report of one stream: the last `MOST_CLIPS` clips and the given answers."""
    info = store.stream(stream)
    number = store.last_index(stream) + 1
    first = max(0, number - MOST_CLIPS)
    notes = [f"The first {first} of {number} clips are left out."] if first else []
    clips = tell_clips(store, stream, first=first, expected=expected)
    return Report(
        title=title,
        source=Path(info.source).name,
        model=str(info.settings["model"]),
        settings={name: str(value) for name, value in info.settings.items() if name != "model" and value is not None},
        # Each clip's pictures are made small as it passes, so that a report never holds a whole film.
        clips=tuple(replace(clip, frames=shrink_frames(clip.frames, PICTURE_SIDE)) for clip in clips),
        answers=tuple(answers),
        figures={"clips": str(number), **(figures or {})},
        notes=tuple(notes),
        clock=store.clock(stream),
    )


def tell_answer(answer: Answer, *, expected: str | None = None, latency: float | None = None) -> ReportAnswer:
    """An answer as a report shows it; `latency` in seconds."""
    return ReportAnswer(
        question=answer.question,
        text=answer.text,
        at=answer.at,
        citations=tuple(Citation(start=c.start, end=c.end, caption=c.text, index=c.index) for c in answer.citations),
        expected=expected,
        latency_s=latency,
    )


def _usual_grid(info: StreamInfo, clip: VideoClip, scores: np.ndarray | None) -> tuple[int, int, int]:
    """(steps, rows, columns) of a clip in a memory that kept one grid for the stream: of frames 16:9."""
    if "grid" not in info.settings:
        raise InputError(f"the memory does not say how the tokens of stream '{info.stream}' lie; caption it again")
    rows, columns = info.settings["grid"]
    return (len(clip.frames) if scores is None else len(scores) // (rows * columns)), rows, columns


def _last_of_steps(num_frames: int, steps: int) -> list[int]:
    """The place of the last frame of each step, of which the last may be short."""
    together = -(-num_frames // max(1, steps))
    return [min(first + together, num_frames) - 1 for first in range(0, num_frames, together)]


def _source_file(info: StreamInfo) -> str:
    if is_address(info.source):
        raise InputError(f"stream '{info.stream}' came from {info.source}, and no video of it is kept; choose a film's")
    if not info.source or not Path(info.source).is_file():
        raise InputError(
            f"the video of stream '{info.stream}' is no longer at {info.source or '(none given)'}; put it back"
        )
    return info.source
