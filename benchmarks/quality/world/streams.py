"""Streams drawn at random: a cast, cuts that ignore the clips' borders, scenes that come again."""

from __future__ import annotations

import numpy as np

from .grammar import COLOURS, SHAPES
from .script import CLIP_TICKS, Shot, Stream
from .shots import HIDING_TICKS, Recipe, sample_recipe, sample_shot

CUT_OFFSETS = (0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 15)  # frames into a clip; nearer its middle no shot is longest
NAMES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
COMMON, RARE = 8, 10


def _next_cut(rng: np.random.Generator, start: int, last: int, long: float) -> int:
    """Where the shot that begins at tick `start` ends; `last` is the stream's end, `long` the share of long shots."""
    while True:
        longest = 60 if rng.random() < long else 32
        cut = start + int(rng.integers(CLIP_TICKS + 1, longest + 1))
        if cut > last - CLIP_TICKS:
            return last
        if cut % CLIP_TICKS in CUT_OFFSETS and (start % CLIP_TICKS == 0 or cut // CLIP_TICKS > start // CLIP_TICKS):
            return cut


def _names(rng: np.random.Generator, cast: list[str], first: str | None, hiding: bool) -> tuple[str, ...]:
    """One to three things of different colours; two where one of them is to hide."""
    count = 2 if hiding else int(rng.choice([1, 2, 3], p=[0.2, 0.5, 0.3]))
    chosen = [first] if first else []
    for index in rng.permutation(len(cast)):
        if len(chosen) == count:
            break
        if cast[index].split()[0] not in [name.split()[0] for name in chosen]:
            chosen.append(cast[index])
    order = rng.permutation(len(chosen))
    return tuple(chosen[i] for i in order)


def sample_stream(seed: tuple[int, ...], clips: int, hiding: bool = False) -> Stream:
    """The stream of a seed, `clips` clips of 8 s long; with `hiding`, a thing hides in every shot that is long enough.

    Eight things come again and again, up to ten in one shot each, and six never: the latter two can be asked about
    without ambiguity. One scene in seven has been shown before.
    """
    rng = np.random.default_rng(seed)
    order = [NAMES[i] for i in rng.permutation(len(NAMES))]
    common, rare, absent = order[:COMMON], order[COMMON : COMMON + RARE], order[COMMON + RARE :]
    last = clips * CLIP_TICKS
    chance = min(1.0, 2.2 * RARE / max(1, clips))
    shots: list[Shot] = []
    recipes: list[Recipe | None] = []
    used: list[str] = []
    start = 0
    while start < last:
        end = _next_cut(rng, start, last, 1.0 if hiding else 0.45)
        again = [i for i, recipe in enumerate(recipes) if recipe is not None]
        repeats = int(rng.choice(again)) if again and rng.random() < 0.15 else -1
        left = [name for name in rare if name not in used]
        first = left[0] if left and repeats < 0 and rng.random() < chance else None
        recipe = recipes[repeats] if repeats >= 0 else None
        if recipe is None:
            hides = hiding and end - start >= HIDING_TICKS
            names = _names(rng, common, first, hides)
            recipe = sample_recipe(rng, names, end - start, "hides" if hides else None)
        if recipe.kind != "plain" and end - start < HIDING_TICKS:
            continue
        shot = sample_shot(rng, recipe, start, end, len(shots), repeats)
        if shot is None:
            continue
        shots.append(shot)
        recipes.append(None if first or repeats >= 0 else recipe)
        if first:
            used.append(first)
        start = end
    return Stream(seed, clips, tuple(shots), float(rng.uniform(2, 9)), tuple(absent), tuple(used))
