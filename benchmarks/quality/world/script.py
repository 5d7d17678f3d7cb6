"""What happens in a stream: shots, the things in them, where each is at any time and how much of it can be seen.

Times are seconds, lengths are fractions of the picture's side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .grammar import Thing
from .scenes import DIRECTIONS, Style

TICK = 0.5  # seconds between two sampled frames
CLIP_TICKS = 16
CLIP_SECONDS = TICK * CLIP_TICKS


def _disc() -> np.ndarray:
    """37 points spread evenly over the unit disc, `[37, 2]`."""
    rings = [np.zeros((1, 2))]
    for number, radius in ((6, 0.3), (12, 0.6), (18, 0.88)):
        angle = 2 * np.pi * np.arange(number) / number
        rings.append(radius * np.stack([np.cos(angle), np.sin(angle)], 1))
    return np.concatenate(rings)


DISC = _disc()


@dataclass(frozen=True)
class Box:
    """An upright grey box that hides what is behind it."""

    x: float
    y: float
    half_width: float
    half_height: float
    grey: tuple[float, float, float]

    def covers(self, points: np.ndarray) -> np.ndarray:
        """Which points `[..., 2]` are behind the box."""
        away = np.abs(points - (self.x, self.y))
        return (away[..., 0] < self.half_width) & (away[..., 1] < self.half_height)


@dataclass(frozen=True)
class Speck:
    """Clutter: a small grey dot or bar that is never asked about."""

    x: float
    y: float
    half_width: float
    half_height: float
    drift: tuple[float, float]  # a second
    grey: tuple[float, float, float]
    round: bool


@dataclass(frozen=True)
class Actor:
    """A thing and its path: `keys` `[k, 3]` are time since the shot's start, x and y; straight in between."""

    colour: str
    shape: str
    radius: float
    keys: np.ndarray

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"

    def centres(self, times: np.ndarray) -> np.ndarray:
        """`[n, 2]` at times `[n]` since the shot's start."""
        return np.stack([np.interp(times, self.keys[:, 0], self.keys[:, axis]) for axis in (1, 2)], 1)

    def motion(self, time: float) -> str:
        """What it does just after `time`, in the grammar's words."""
        last = len(self.keys) - 2
        segment = min(last, max(0, int(np.searchsorted(self.keys[:, 0], time + 1e-6)) - 1))
        step = self.keys[segment + 1, 1:] - self.keys[segment, 1:]
        if np.abs(step).max() < 1e-6:
            return "stays still"
        return max(DIRECTIONS, key=lambda name: float(np.dot(DIRECTIONS[name], step)))

    def as_thing(self, motion: str) -> Thing:
        return Thing(self.colour, self.shape, motion)


@dataclass(frozen=True)
class Shot:
    """What is shown between two cuts. `repeats`: index of the shot whose scene is shown again, or -1."""

    start: float
    end: float
    kind: str
    actors: tuple[Actor, ...]
    box: Box | None
    specks: tuple[Speck, ...]
    style: Style
    repeats: int = -1

    def shown(self, actor: Actor, times: np.ndarray) -> np.ndarray:
        """Share of the thing that can be seen at times `[n]` of the stream."""
        points = actor.centres(times - self.start)[:, None] + actor.radius * DISC
        seen = ((points > 0) & (points < 1)).all(-1)
        if self.box is not None:
            seen &= ~self.box.covers(points)
        return seen.mean(1)

    def behind(self, actor: Actor, times: np.ndarray) -> np.ndarray:
        """Share of the thing that is behind the box."""
        if self.box is None:
            return np.zeros(len(times))
        return self.box.covers(actor.centres(times - self.start)[:, None] + actor.radius * DISC).mean(1)


@dataclass(frozen=True)
class Stream:
    """Shots one after the other, `clips` clips long; `level` is the camera noise's deviation of 255."""

    seed: tuple[int, ...]
    clips: int
    shots: tuple[Shot, ...]
    level: float
    absent: tuple[str, ...]  # names that never appear
    rare: tuple[str, ...]  # names that appear in one shot only

    @property
    def seconds(self) -> float:
        return self.clips * CLIP_SECONDS

    def shot_at(self, time: float) -> int:
        """Index of the shot on screen."""
        return int(np.searchsorted([shot.start for shot in self.shots], time + 1e-6)) - 1


def clip_times(clip: int) -> np.ndarray:
    """Times of a clip's sampled frames, `[16]`."""
    return (clip * CLIP_TICKS + np.arange(CLIP_TICKS)) * TICK
