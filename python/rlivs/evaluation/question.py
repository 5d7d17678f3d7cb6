"""A question of a benchmark."""

from __future__ import annotations

from string import ascii_uppercase

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

LETTERS = tuple(ascii_uppercase)  # of choices


@dataclass(frozen=True, config=ConfigDict(coerce_numbers_to_str=True))
class Question:
    """A question about a video. id: its name in the benchmark; video: the file's name, with or without its ending.

    answer: the right one, None where the benchmark keeps it; of a multiple choice the text of the right choice.
    at: the second of the video at which it is asked, None: after its end. kind: the benchmark's own group, or "".
    Numbers are taken as texts; raises pydantic's ValidationError for values of other types.
    """

    id: str
    video: str
    text: str
    answer: str | None = None
    choices: tuple[str, ...] = ()
    at: float | None = None
    kind: str = ""

    @property
    def prompt(self) -> str:
        """What the model is asked: the question, and its choices with a letter each."""
        if not self.choices:
            return self.text
        listed = " ".join(f"({letter}) {choice}" for letter, choice in zip(LETTERS, self.choices, strict=False))
        return f"{self.text} {listed} Answer with the letter of the right choice."
