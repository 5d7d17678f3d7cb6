"""Shots drawn at random: plain ones, things that leave and return, things that hide behind a box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .grammar import MOTIONS
from .scenes import DIRECTIONS, EXTENT, Style
from .script import CLIP_TICKS, TICK, Actor, Box, Shot, Speck
from .truth import shot_truths

TRIES = 400
GAP = 0.02
HIDING_TICKS = 28  # the shortest shot in which a thing can leave and return, or hide
RADII = {1: (0.12, 0.19), 2: (0.12, 0.17), 3: (0.11, 0.14)}


@dataclass(frozen=True)
class Recipe:
    """What a scene is about; shown again, it has new paths."""

    kind: str  # plain, leaves, hides
    names: tuple[str, ...]
    motions: tuple[str, ...]
    style: Style


def sample_style(rng: np.random.Generator) -> Style:
    """A textured background: a light or dark, slightly tinted ground under stripes, checks or ripples."""
    level = rng.uniform(0.12, 0.30) if rng.random() < 0.3 else rng.uniform(0.62, 0.92)
    tint = rng.uniform(-0.05, 0.05, size=3)
    slope = rng.uniform(-0.09, 0.09)
    near, far = np.clip(level + slope + tint, 0, 1), np.clip(level - slope + tint, 0, 1)
    waves = []
    kind = rng.choice(["stripes", "checks", "ripples"])
    strength, frequency, angle = rng.uniform(0.02, 0.07), rng.uniform(2, 10), rng.uniform(0, np.pi)
    if kind in ("stripes", "checks"):
        turns = (0.0,) if kind == "stripes" else (0.0, np.pi / 2)
        for turn in turns:
            across = (frequency * np.cos(angle + turn), frequency * np.sin(angle + turn))
            waves.append((*across, rng.uniform(0, 2 * np.pi), strength))
    for _ in range(3 if kind != "ripples" else 8):
        waves.append((*rng.uniform(-9, 9, 2), rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.025)))
    return Style(tuple(near), tuple(far), rng.uniform(0, 2 * np.pi), tuple(waves), rng.choice([0.0, 0.0, 0.02]))


def sample_specks(rng: np.random.Generator, style: Style) -> tuple[Speck, ...]:
    """Up to six small grey things, some of which drift."""
    found = []
    for _ in range(int(rng.integers(0, 7))):
        level = float(np.clip(np.mean(style.near) + rng.choice([-1, 1]) * rng.uniform(0.12, 0.3), 0.05, 0.95))
        width, height = rng.uniform(0.012, 0.035, 2)
        drift = tuple(rng.uniform(-0.02, 0.02, 2)) if rng.random() < 0.4 else (0.0, 0.0)
        found.append(Speck(*rng.uniform(0.03, 0.97, 2), width, height, drift, (level,) * 3, bool(rng.random() < 0.5)))
    return tuple(found)


def _straight(rng: np.random.Generator, radius: float, motion: str, ticks: int, turn: int | None) -> np.ndarray | None:
    """A path inside the picture, `ticks` long; at `turn` the thing stops, or starts if it stood still."""
    direction = np.array(DIRECTIONS[motion])
    moving, reach = ticks, EXTENT * radius + 0.02
    if turn is not None:
        moving = turn
    room = 1 - 2 * reach
    travel = min(rng.uniform(0.24, 0.6) * moving / CLIP_TICKS, room)
    if motion != "stays still" and travel < 0.215 * moving / CLIP_TICKS:
        return None
    step = direction * travel
    low, high = reach + np.maximum(-step, 0), 1 - reach - np.maximum(step, 0)
    start = low + (high - low) * rng.random(2)
    keys = [(0.0, *start), (moving * TICK, *(start + step))]
    if moving < ticks:
        keys.append((ticks * TICK, *(start + step)))
    return np.array(keys)


def _leaving(rng: np.random.Generator, radius: float, ticks: int) -> np.ndarray | None:
    """Out over an edge and, later, in again: over the same edge or the one opposite."""
    shown, away = int(rng.integers(8, 16)), int(rng.integers(8, 24))
    back = ticks - shown - away
    if back < 8:
        return None
    axis, side = int(rng.integers(2)), int(rng.integers(2))
    across = rng.uniform(0.2, 0.8)
    outside = 1 + EXTENT * radius + 0.03
    path = [(0.0, rng.uniform(0.25, 0.6)), (shown, outside), (shown + away, outside), (ticks, rng.uniform(0.25, 0.7))]
    if rng.random() < 0.4:  # in over the opposite edge; the way there is out of sight
        path = [*path[:2], (shown + 1, outside), (shown + 2, 1 - outside), (shown + away, 1 - outside), path[3]]
    keys = []
    for tick, along in path:
        value = along if side else 1 - along
        keys.append((tick * TICK, value, across) if axis == 0 else (tick * TICK, across, value))
    return np.array(keys)


def _hiding(rng: np.random.Generator, radius: float, ticks: int) -> tuple[np.ndarray, Box] | None:
    """Behind a box, still there for one to three clips, and on again if the shot lasts."""
    coming = int(rng.integers(8, 17))
    staying = int(rng.integers(20, 52))
    half = EXTENT * radius + 0.03
    axis = int(rng.integers(2))
    sides = [half + rng.uniform(0, 0.04), half + rng.uniform(0, 0.04)]
    sides[1 - axis] += rng.uniform(0, 0.15)  # longer across the path than along it
    centre = [rng.uniform(half + 0.05, 0.95 - half) for _ in range(2)]
    box = Box(*centre, *sides, tuple(np.clip(rng.uniform(0.35, 0.6) + rng.uniform(-0.04, 0.04, 3), 0, 1)))
    way = rng.choice([-1, 1])
    begin = centre[axis] + way * rng.uniform(0.4, 0.6)
    if not EXTENT * radius < begin < 1 - EXTENT * radius:
        return None
    points = [(0, begin), (coming, centre[axis]), (min(ticks, coming + staying), centre[axis])]
    if ticks - coming - staying >= 7:
        exit_way = rng.choice([-1, 1])
        final = centre[axis] + exit_way * rng.uniform(0.4, 0.6)
        if not EXTENT * radius < final < 1 - EXTENT * radius:
            return None
        out = min(ticks, coming + staying + int(rng.integers(10, 20)))
        points.append((out, final))
        if out < ticks:
            points.append((ticks, final))
    elif ticks < coming + 20:
        return None
    keys = [(t * TICK, p, centre[1]) if axis == 0 else (t * TICK, centre[0], p) for t, p in points]
    return np.array(keys), box


def _apart(actors: list[Actor], box: Box | None, times: np.ndarray) -> bool:
    """Whether no two things ever touch, and only the first one the box."""
    centres = [actor.centres(times) for actor in actors]
    for i, first in enumerate(actors):
        for j in range(i):
            gap = np.hypot(*(centres[i] - centres[j]).T).min()
            if gap < EXTENT * (first.radius + actors[j].radius) + GAP:
                return False
        if box is not None and i > 0:
            away = np.abs(centres[i] - (box.x, box.y)) - (box.half_width, box.half_height)
            if (away.max(1) < EXTENT * first.radius + GAP).any():
                return False
    return True


def sample_recipe(rng: np.random.Generator, names: tuple[str, ...], ticks: int, only: str | None = None) -> Recipe:
    """A scene for these things that fits a shot of `ticks` frames; of kind `only`, if given."""
    kinds = ["plain"]
    if ticks >= HIDING_TICKS:
        kinds = ["plain", "hides", "leaves"] if len(names) < 3 else ["plain"]
        if len(names) == 1:
            kinds.remove("hides")
    drawn = str(rng.choice(kinds, p=np.array([0.3, 0.5, 0.2])[: len(kinds)] / sum([0.3, 0.5, 0.2][: len(kinds)])))
    motions = tuple(str(rng.choice(MOTIONS)) for _ in names)
    return Recipe(only or drawn, names, motions, sample_style(rng))


def sample_shot(
    rng: np.random.Generator, recipe: Recipe, start: int, end: int, index: int, repeats: int = -1
) -> Shot | None:
    """A shot from tick `start` to `end` whose clips all have a clear truth, or None if none was found."""
    ticks = end - start
    times = np.arange(ticks + 1) * TICK
    specks = sample_specks(rng, recipe.style)
    count = len(recipe.names)
    for _ in range(TRIES):
        box, actors = None, []
        for number, (name, motion) in enumerate(zip(recipe.names, recipe.motions, strict=True)):
            radius = rng.uniform(*RADII[count if recipe.kind == "plain" else 3])
            keys: np.ndarray | None
            if number == 0 and recipe.kind == "leaves":
                keys = _leaving(rng, radius, ticks)
            elif number == 0 and recipe.kind == "hides":
                hiding = _hiding(rng, radius, ticks)
                keys, box = hiding if hiding is not None else (None, None)
            else:
                turn = None
                if ticks >= 30 and rng.random() < 0.6:
                    border = CLIP_TICKS * (start // CLIP_TICKS + int(rng.integers(1, 3))) - start
                    turn = border + int(rng.integers(-2, 3))
                    turn = turn if 12 <= turn <= ticks - 10 else None
                keys = _straight(rng, radius, motion, ticks, turn)
            if keys is None:
                break
            actors.append(Actor(*name.split(), radius, keys))
        if len(actors) < count or not _apart(actors, box, times):
            continue
        shot = Shot(start * TICK, end * TICK, recipe.kind, tuple(actors), box, specks, recipe.style, repeats)
        truths = shot_truths(shot, index)
        if truths and (recipe.kind != "hides" or any(truth.needs_past for _, truth in truths)):
            return shot
    return None
