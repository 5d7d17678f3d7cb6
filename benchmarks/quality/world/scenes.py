"""Where things are: start, velocity and size of every thing, and the look of the background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .grammar import COLOURS, MOTIONS, SHAPES, Thing, in_order

DIRECTIONS = {
    "moves left": (-1.0, 0.0),
    "moves right": (1.0, 0.0),
    "moves up": (0.0, -1.0),
    "moves down": (0.0, 1.0),
    "stays still": (0.0, 0.0),
}
EXTENT = 1.2  # a shape reaches at most this many radii from its centre
MARGIN = 0.03  # of the side: free space at the border and between two things
CANDIDATES = 48


@dataclass(frozen=True)
class Style:
    """The background: colours at two opposite ends, soft waves, a light frame. All in 0..1."""

    near: tuple[float, float, float]
    far: tuple[float, float, float]
    angle: float
    waves: tuple[tuple[float, float, float, float], ...]  # (frequency x, frequency y, phase, amplitude)
    frame: float  # width of the light frame, of the side


@dataclass(frozen=True)
class Scene:
    """Things in caption order with their paths; lengths are fractions of the picture's side."""

    things: tuple[Thing, ...]
    starts: np.ndarray  # [things, 2] x, y of the centres at time 0
    travels: np.ndarray  # [things, 2] displacement over the whole scene
    radii: np.ndarray  # [things]
    style: Style

    def centres(self, progress: np.ndarray) -> np.ndarray:
        """Centres `[frames, things, 2]` at the given progress `[frames]` in 0..1."""
        return self.starts[None] + progress[:, None, None] * self.travels[None]


def sample_things(rng: np.random.Generator, count: int) -> tuple[Thing, ...]:
    """`count` things of different colours, in caption order."""
    colours = rng.choice(len(COLOURS), count, replace=False)
    return in_order(
        tuple(
            Thing(COLOURS[colour], SHAPES[rng.integers(len(SHAPES))], MOTIONS[rng.integers(len(MOTIONS))])
            for colour in colours
        )
    )


def sample_style(rng: np.random.Generator, dark: float = 0.25) -> Style:
    """A quiet background: light, or dark with probability `dark`."""
    level = rng.uniform(0.10, 0.26) if rng.random() < dark else rng.uniform(0.68, 0.95)
    tint = rng.uniform(-0.035, 0.035, size=3)
    slope = rng.uniform(-0.07, 0.07)
    near, far = np.clip(level + slope + tint, 0, 1), np.clip(level - slope + tint, 0, 1)
    waves = tuple((*rng.uniform(-3.0, 3.0, 2), rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.02)) for _ in range(3))
    return Style(tuple(near), tuple(far), rng.uniform(0, 2 * np.pi), waves, rng.choice([0.0, 0.015, 0.025]))


def sample_scene(
    rng: np.random.Generator,
    things: tuple[Thing, ...],
    *,
    radius: tuple[float, float] = (0.12, 0.20),
    travel: tuple[float, float] = (0.2, 0.6),
    style: Style | None = None,
) -> Scene:
    """A scene where every thing stays inside the picture and no two things ever touch."""
    count = len(things)
    direction = np.array([DIRECTIONS[thing.motion] for thing in things])
    steps = np.linspace(0, 1, 9)[None, :, None]
    shortest, longest = travel
    while True:
        radii = rng.uniform(*radius, size=(CANDIDATES, count, 1))
        reach = EXTENT * radii + MARGIN
        distance = rng.uniform(shortest, longest, size=(CANDIDATES, count, 1))
        distance = np.minimum(distance, np.maximum(1 - 2 * reach, shortest))
        travels = distance * direction
        low, high = reach + np.maximum(-travels, 0), 1 - reach - np.maximum(travels, 0)
        starts = low + (high - low) * rng.random((CANDIDATES, count, 2))
        good = (high >= low).all(axis=(1, 2))
        if count == 2:
            gap = (starts[:, 0] - starts[:, 1])[:, None] + steps * (travels[:, 0] - travels[:, 1])[:, None]
            nearest = np.hypot(gap[..., 0], gap[..., 1]).min(axis=1)
            good &= nearest > EXTENT * radii.sum(axis=(1, 2)) + MARGIN
        if good.any():
            chosen = int(np.argmax(good))
            return Scene(things, starts[chosen], travels[chosen], radii[chosen, :, 0], style or sample_style(rng))
        longest = max(shortest, 0.85 * longest)
        radius = (radius[0], max(radius[0], 0.95 * radius[1]))
