"""Where a caption looked, on the picture it was written of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np


class Pictured(Protocol):
    """What is known of a captioned clip's tokens: kept columns, and (rows, columns) of the tokens in one frame."""

    @property
    def index(self) -> int: ...

    @property
    def selected(self) -> tuple[int, ...]: ...

    @property
    def grid(self) -> tuple[int, int]: ...


class Overlay(NamedTuple):
    """Where the newest caption looked, in its clip's last frame.

    image: `[H, W, 3]` uint8 RGB; scores: `[rows, columns]` float32; selected: `[rows, columns]` bool, the tokens kept.
    """

    clip: int
    image: np.ndarray
    time: float
    scores: np.ndarray
    selected: np.ndarray

    @classmethod
    def of_last_frame(cls, clip: Pictured, scores: np.ndarray, frames: np.ndarray, times: Sequence[float]) -> Overlay:
        """Scores `[n]` and kept tokens of a clip, as far as they lie in its last frame."""
        rows, columns = clip.grid
        size = rows * columns
        chosen = np.zeros(len(scores), bool)
        chosen[list(clip.selected)] = True
        return cls(
            clip=clip.index,
            image=frames[-1],
            time=times[-1],
            scores=scores[-size:].reshape(rows, columns),
            selected=chosen[-size:].reshape(rows, columns),
        )


class LatestFrame(NamedTuple):
    """The newest frame `[H, W, 3]` uint8 RGB, its time in seconds, and where the newest caption looked."""

    image: np.ndarray
    time: float
    overlay: Overlay | None
