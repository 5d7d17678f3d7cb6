"""What is seen and how it is told: one caption for one picture story, and back."""

from __future__ import annotations

import re
from dataclasses import dataclass

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
SHAPES = ("circle", "square", "triangle", "star")
MOTIONS = ("moves left", "moves right", "moves up", "moves down", "stays still")
PAST = {"moves": "moved", "stays": "stayed"}


@dataclass(frozen=True)
class Thing:
    """One coloured shape and what it does during a scene."""

    colour: str
    shape: str
    motion: str

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def article(self) -> str:
        return "an" if self.colour[0] in "aeiou" else "a"

    def told(self) -> str:
        """`a red circle moves right`."""
        return f"{self.article} {self.name} {self.motion}"

    def told_past(self) -> str:
        """`a red circle moved right`."""
        verb, rest = self.motion.split(" ", 1)
        return f"{self.article} {self.name} {PAST[verb]} {rest}"


def in_order(things: tuple[Thing, ...]) -> tuple[Thing, ...]:
    """Things in the order a caption names them: the colours' order in the rainbow."""
    return tuple(sorted(things, key=lambda thing: COLOURS.index(thing.colour)))


def caption(things: tuple[Thing, ...]) -> str:
    """The one right caption, e.g. `a red circle moves right and a blue square stays still.`"""
    return " and ".join(thing.told() for thing in in_order(things)) + "."


_THING = re.compile(rf"an? ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)}) ({'|'.join(MOTIONS)})")


def parse(text: str) -> tuple[Thing, ...]:
    """The things a caption tells of; raises ValueError for text that is no caption."""
    things = tuple(Thing(*match.groups()) for match in _THING.finditer(text))
    if not things or caption(things) != text:
        raise ValueError(f"not a caption of this world: {text!r}")
    return things
