"""What a report shows. Nothing here knows models, streams or files."""

from dataclasses import dataclass, field

import numpy as np

from rlivs.clock import COUNTED, Clock
from rlivs.errors import InputError


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportClip:
    """One clip of the stream, its caption, its frames and what its caption looked at.

    Columns are the clip's visual tokens, frame by frame and row by row: column
    ``(frame * rows + row) * cols + col``. Raises InputError when frames, times, scores, selected and grid
    do not fit each other.
    """

    index: int
    start: float  # seconds since the start of the stream
    end: float
    caption: str
    expected: str | None = None  # what the script says; the caption is then marked as agreeing or differing
    frames: np.ndarray  # [n, H, W, 3] uint8 RGB; n = 0 where the pictures are not at hand
    times: tuple[float, ...]  # seconds, one a frame
    scores: np.ndarray | None = None  # [n * rows * cols] float
    selected: tuple[int, ...] = ()  # columns kept for memory
    grid: tuple[int, int]  # visual tokens of a frame: (rows, cols)

    def __post_init__(self) -> None:
        check_frames(self.frames, self.times, name=f"clip {self.index}")
        if len(self.frames):
            check_columns(len(self.frames), self.grid, self.scores, self.selected, name=f"clip {self.index}")


@dataclass(frozen=True)
class Citation:
    """A caption that an answer rests on; `index` is its clip's."""

    start: float
    end: float
    caption: str
    index: int


@dataclass(frozen=True, kw_only=True)
class ReportAnswer:
    """A question, its answer, and the captions the answer rests on."""

    question: str
    text: str
    at: float | None = None  # seconds of the stream when it was asked; None: after all of it
    citations: tuple[Citation, ...] = ()
    expected: str | None = None
    latency_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything on the page."""

    title: str
    source: str
    model: str
    settings: dict[str, str] = field(default_factory=dict)
    clips: tuple[ReportClip, ...] = ()
    answers: tuple[ReportAnswer, ...] = ()
    figures: dict[str, str] = field(default_factory=dict)  # key numbers of the run: name -> value with unit
    notes: tuple[str, ...] = ()
    clock: Clock = COUNTED  # how moments are told

    def __post_init__(self) -> None:
        indices = [clip.index for clip in self.clips]
        if len(set(indices)) != len(indices):
            raise InputError("a report needs clips with distinct indices; pass each clip once")


def check_frames(frames: np.ndarray, times: tuple[float, ...] | None, *, name: str) -> None:
    """Raise InputError unless `frames` is uint8 `[n, H, W, 3]` with one time a frame (`times` may be None)."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise InputError(f"{name}: frames must be uint8 [n, H, W, 3], not {frames.dtype} {list(frames.shape)}")
    if len(frames) and times is not None and len(times) != len(frames):
        raise InputError(f"{name}: {len(frames)} frames need {len(frames)} times, not {len(times)}")


def check_columns(
    num_frames: int,
    grid: tuple[int, int],
    scores: np.ndarray | None,
    selected: tuple[int, ...],
    *,
    name: str,
) -> None:
    """Raise InputError unless `scores` and `selected` fit `num_frames` frames of `grid` tokens."""
    rows, cols = grid
    if rows < 1 or cols < 1:
        raise InputError(f"{name}: the grid must be at least (1, 1), not ({rows}, {cols})")
    columns = num_frames * rows * cols
    if scores is not None and scores.shape != (columns,):
        raise InputError(
            f"{name}: {num_frames} frames of {rows}x{cols} tokens need {columns} scores, not {list(scores.shape)}"
        )
    if any(not 0 <= column < columns for column in selected):
        raise InputError(f"{name}: selected columns must lie in 0..{columns - 1}")
