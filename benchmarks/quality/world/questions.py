"""Questions about a list of captions that have exactly one right answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .grammar import COLOURS, SHAPES, Thing, caption
from .prompts import clock

WORDS = ("What", "happened", "at", "When", "did", "appear", "colour", "was", "the", "Did", "yes", "no", "after")
LATEST = 3560  # seconds: times stay below one hour
KINDS = ("at", "when", "after", "colour", "did")


@dataclass(frozen=True)
class Line:
    """One caption with its time span in seconds."""

    start: float
    end: float
    things: tuple[Thing, ...]

    @property
    def text(self) -> str:
        return caption(self.things)


@dataclass(frozen=True)
class Question:
    """A question, its answer, and the index of the line that holds the evidence (-1: none)."""

    kind: str
    text: str
    answer: str
    line: int
    thing: tuple[str, str] | None = None  # colour and shape of the thing that the question is about
    about: tuple[str, str] | None = None  # of the thing that the answer is about, where the question gives a time


def _article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _pair(name: str) -> tuple[str, str]:
    colour, shape = name.split()
    return colour, shape


def ask_at(lines: list[Line], index: int) -> Question:
    """What a line tells, by its start time."""
    return Question("at", f"What happened at {clock(lines[index].start)}?", lines[index].text, index)


def ask_when(lines: list[Line], index: int, thing: Thing) -> Question | None:
    """When a thing appeared; only if it did once."""
    if sum(other.name == thing.name for line in lines for other in line.things) != 1:
        return None
    answer = f"at {clock(lines[index].start)}."
    return Question("when", f"When did {_article(thing.name)} appear?", answer, index, (thing.colour, thing.shape))


def ask_after(lines: list[Line], index: int, thing: Thing) -> Question | None:
    """What the line after a thing's line tells; only if the thing appeared once, and not in the last line."""
    if index + 1 >= len(lines) or ask_when(lines, index, thing) is None:
        return None
    text, answer = f"What happened after {thing.told_past()}?", lines[index + 1].text
    return Question("after", text, answer, index, (thing.colour, thing.shape))


def ask_colour(lines: list[Line], index: int, thing: Thing) -> Question | None:
    """The colour of a shape; only if that shape appeared once."""
    if sum(other.shape == thing.shape for line in lines for other in line.things) != 1:
        return None
    text, answer = f"What colour was the {thing.shape}?", f"{thing.colour}."
    return Question("colour", text, answer, index, (thing.colour, thing.shape))


def ask_did(lines: list[Line], name: str) -> Question:
    """Whether a thing appeared."""
    found = [i for i, line in enumerate(lines) if any(thing.name == name for thing in line.things)]
    answer = "yes." if found else "no."
    return Question("did", f"Did {_article(name)} appear?", answer, found[0] if found else -1, _pair(name))


def sample_question(rng: np.random.Generator, lines: list[Line], kind: str) -> Question | None:
    """A random question of a kind, or None where these lines allow none."""
    index = int(rng.integers(len(lines)))
    if kind == "at":
        return ask_at(lines, index)
    if kind == "did":
        present = {thing.name for line in lines for thing in line.things}
        if rng.random() < 0.5:
            return ask_did(lines, sorted(present)[rng.integers(len(present))])
        absent = [f"{c} {s}" for c in COLOURS for s in SHAPES if f"{c} {s}" not in present]
        return ask_did(lines, absent[rng.integers(len(absent))]) if absent else None
    ask = {"when": ask_when, "after": ask_after, "colour": ask_colour}[kind]
    for index in rng.permutation(len(lines))[:6]:
        things = lines[index].things
        for choice in rng.permutation(len(things)):
            question = ask(lines, int(index), things[choice])
            if question is not None:
                return question
    return None


def sample_lines(rng: np.random.Generator, count: int, sample_things) -> list[Line]:
    """Caption lines as a stream leaves them: equal clips, sometimes repeats, sometimes gaps."""
    length = int(rng.choice([8, 8, 8, 4, 16, 32, 2, 5, 10, 6, 12]))
    latest = max(1, min(200, LATEST // length - 2 * count))
    first = 0 if rng.random() < 0.6 else int(rng.integers(0, latest))
    gaps = rng.random() < 0.15
    lines: list[Line] = []
    position = first
    while len(lines) < count:
        if gaps and rng.random() < 0.4:
            position += int(rng.integers(1, 4))
        if lines and rng.random() < 0.12:
            things = lines[rng.integers(max(0, len(lines) - 2), len(lines))].things
        else:
            things = sample_things(rng, 1 if rng.random() < 0.45 else 2)
        start = position * length
        if start >= LATEST:
            break
        lines.append(Line(start, start + length, things))
        position += 1
    return lines
