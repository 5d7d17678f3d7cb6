"""Questions about the second world's lines: about the whole list, about a moment, or about one clip alone.

Each has exactly one right answer. They are built from lines (a time span and the things told of it), so that training
lists and real streams' truths share them.
"""

from __future__ import annotations

import numpy as np

from .grammar import MOTIONS, Thing, in_order
from .prompts import clock
from .questions import LATEST, Line, Question, _article, _pair, ask_at, ask_did
from .streams import COMMON, NAMES, RARE

CLIP_KINDS = ("colour", "shape", "motion", "count", "seen")
LIST_KINDS = ("at", "when", "after", "before", "did", "order")
KINDS = (*LIST_KINDS, *CLIP_KINDS)
YES_NO = ("seen", "did", "order")


def about_clip(
    rng: np.random.Generator, kind: str, things: tuple[Thing, ...], elsewhere: tuple[str, ...], when: str = ""
) -> Question | None:
    """A question about what one clip tells; `when` is empty or ` at 0:40`, `elsewhere` are names that are not in it."""
    thing = things[rng.integers(len(things))]
    if kind == "colour":
        if sum(other.shape == thing.shape for other in things) > 1:
            return None
        return Question(
            kind, f"What colour was the {thing.shape}{when}?", f"{thing.colour}.", 0, about=_pair(thing.name)
        )
    if kind == "shape":
        text = f"What shape was the {thing.colour} thing{when}?"
        return Question(kind, text, f"{thing.shape}.", 0, about=_pair(thing.name))
    if kind == "motion":
        answer = thing.told_past().split(" ", 3)[3] + "."
        return Question(kind, f"What happened to the {thing.name}{when}?", answer, 0, about=_pair(thing.name))
    if kind == "count":
        return Question(kind, f"how many in the picture{when}?", f"{len(things)}.", 0)
    if rng.random() < 0.5:
        return Question(kind, f"Did {_article(thing.name)} appear{when}?", "yes.", 0, about=_pair(thing.name))
    name = elsewhere[rng.integers(len(elsewhere))]
    return Question(kind, f"Did {_article(name)} appear{when}?", "no.", 0)


def spans(lines: list[Line]) -> dict[str, list[int]]:
    """The lines in which each name is told."""
    found: dict[str, list[int]] = {}
    for index, line in enumerate(lines):
        for thing in line.things:
            found.setdefault(thing.name, []).append(index)
    return found


def once(lines: list[Line]) -> dict[str, list[int]]:
    """Names that are told in one run of lines only, with that run."""
    return {name: at for name, at in spans(lines).items() if at[-1] - at[0] + 1 == len(at)}


def ask_when(lines: list[Line], name: str) -> Question:
    """When a thing that appeared in one run of lines came: the first line's start."""
    index = once(lines)[name][0]
    return Question(
        "when", f"When did {_article(name)} appear?", f"at {clock(lines[index].start)}.", index, _pair(name)
    )


def ask_next(lines: list[Line], name: str, step: int) -> Question | None:
    """What the line after (step 1) or before (-1) tells; only of a thing told in a single line."""
    told = once(lines).get(name, [])
    if len(told) != 1 or not 0 <= told[0] + step < len(lines):
        return None
    index = told[0]
    (thing,) = [thing for thing in lines[index].things if thing.name == name]
    word = "after" if step > 0 else "before"
    text = f"What happened {word} {thing.told_past()}?"
    return Question(word, text, lines[index + step].text, index, _pair(name))


def ask_order(rng: np.random.Generator, lines: list[Line]) -> Question | None:
    """Whether one thing came before another; both came once, in different lines."""
    single = once(lines)
    names = sorted(single)
    if len(names) < 2:
        return None
    first, second = (names[i] for i in rng.choice(len(names), 2, replace=False))
    if single[first][0] == single[second][0]:
        return None
    if (single[first][0] < single[second][0]) != (rng.random() < 0.5):
        first, second = second, first
    answer = "yes." if single[first][0] < single[second][0] else "no."
    return Question("order", f"Did {_article(first)} appear before {_article(second)}?", answer, -1)


def sample_question(
    rng: np.random.Generator, lines: list[Line], kind: str, near: list[set[str]] | None = None
) -> Question | None:
    """A random question of a kind, or None where these lines allow none. Questions of yes or no are balanced.

    `near`: for each line the names that were on screen meanwhile, told or not; the told ones where it is not given.
    """
    index = int(rng.integers(len(lines)))
    near = near or [{thing.name for thing in line.things} for line in lines]
    if kind == "at":
        return ask_at(lines, index)
    if kind in CLIP_KINDS:
        things = lines[index].things
        elsewhere = tuple(name for name in NAMES if name not in near[index])
        found = about_clip(rng, kind, things, elsewhere, f" at {clock(lines[index].start)}")
        return None if found is None else Question(kind, found.text, found.answer, index, None, found.about)
    if kind == "order":
        return ask_order(rng, lines)
    if kind == "did":
        told = spans(lines)
        if rng.random() < 0.5:
            return ask_did(lines, sorted(told)[rng.integers(len(told))])
        left = [name for name in NAMES if not any(name in names for names in near)]
        return ask_did(lines, left[rng.integers(len(left))]) if left else None
    names = sorted(once(lines))
    if not names:
        return None
    for choice in rng.permutation(len(names))[:6]:
        name = names[choice]
        question = ask_when(lines, name) if kind == "when" else ask_next(lines, name, 1 if kind == "after" else -1)
        if question is not None:
            return question
    return None


def sample_lines(rng: np.random.Generator, count: int, _sample_things=None) -> list[Line]:
    """Lines as a stream of the second world leaves them, for training: no pictures are needed for these."""
    length = int(rng.choice([8, 8, 8, 8, 4, 16, 32, 2, 5, 10, 6, 12]))
    latest = max(1, min(200, LATEST // length - 2 * count))
    position = 0 if rng.random() < 0.6 else int(rng.integers(0, latest))
    gaps = rng.random() < 0.3
    order = [NAMES[i] for i in rng.permutation(len(NAMES))]
    common, rare = order[:COMMON], order[COMMON : COMMON + RARE]
    lines: list[Line] = []
    while len(lines) < count:
        names = [rare.pop()] if rare and rng.random() < 0.4 else []
        wanted = int(rng.choice([1, 2, 3], p=[0.25, 0.5, 0.25]))
        for choice in rng.permutation(COMMON):
            if len(names) < wanted and common[choice].split()[0] not in [name.split()[0] for name in names]:
                names.append(common[choice])
        things = [Thing(*_pair(name), str(rng.choice(MOTIONS))) for name in names]
        for _ in range(int(rng.integers(1, 4))):
            if gaps and rng.random() < 0.4:
                position += int(rng.integers(1, 4))
            start = position * length
            if len(lines) == count or start >= LATEST:
                break
            told = things[1:] if len(things) > 1 and rng.random() < 0.12 else things
            lines.append(Line(start, start + length, in_order(tuple(told))))
            position += 1
            if rng.random() < 0.3:
                one = int(rng.integers(len(things)))
                things[one] = Thing(things[one].colour, things[one].shape, str(rng.choice(MOTIONS)))
        if start >= LATEST:
            break
    return lines
