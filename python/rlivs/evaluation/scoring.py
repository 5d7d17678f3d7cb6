"""Whether an answer is right, and how often that is so."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rlivs.evaluation.question import LETTERS

# "B", "(B)", "B. ...", "Answer: B", "The right answer is: (B).", "I choose B"; not "A man ...", whose A is an article.
_SAID = r"(?i:(?:the\s+)?(?:\w+\s+)?(?:answer|choice|option)(?:\s+is)?\s*:?|i\s+(?:choose|pick|select))\s*"
_LETTER = re.compile(rf"\W*(?:{_SAID})?\(?([A-Za-z])(?:\s*[).:,]|\s*$)")
_MARKS = str.maketrans("", "", "*_`\"'[]")  # of emphasis and quotation
_WORD = re.compile(r"[^\W_]+")
_ARTICLES = {"a", "an", "the"}


def chosen(text: str, choices: Sequence[str]) -> int | None:
    """The choice that an answer names, by its letter or, failing that, by its whole text; None where it names none."""
    match = _LETTER.match(text.translate(_MARKS))
    if match is not None and (index := LETTERS.index(match[1].upper())) < len(choices):
        return index
    said = _phrase(text)
    named = [number for number, choice in enumerate(choices) if _phrase(choice) in said]
    # "red car" names "car", too; the longer one is meant.
    meant = [
        n for n in named if not any(n != other and _phrase(choices[n]) in _phrase(choices[other]) for other in named)
    ]
    return meant[0] if len(meant) == 1 else None


def is_right(text: str, answer: str, choices: Sequence[str]) -> bool:
    """Multiple choice: the right one is named. Open: the same words, but for articles, case and signs."""
    if not choices:
        return _words(text) == _words(answer)
    index = chosen(text, choices)
    return index is not None and choices[index] == answer


def word_f1(text: str, answer: str) -> float:
    """Harmonic mean of precision and recall of the words, but for articles, case and signs (Rajpurkar et al. 2016)."""
    said, true = _words(text), _words(answer)
    both = sum((Counter(said) & Counter(true)).values())
    if not both:
        return float(said == true)
    return 2 * both / (len(said) + len(true))


@dataclass(frozen=True)
class Score:
    """Questions of one kind, answered in one way. right: in per cent; low, high: its 95 % interval (Wilson).

    mean: of another measure of the open questions, None where there is none.
    """

    way: str
    kind: str
    questions: int
    right: float
    low: float
    high: float
    mean: float | None


def summary(answers: Iterable[tuple[str, str, bool, float | None]]) -> list[Score]:
    """Scores by way and kind, kind "all" first, from (way, kind, right, another measure or None) of each answer."""
    groups: dict[tuple[str, str], list[tuple[bool, float | None]]] = {}
    for way, kind, right, measure in answers:
        for group in dict.fromkeys(("all", kind or "all")):
            groups.setdefault((way, group), []).append((right, measure))
    order = sorted(groups, key=lambda key: (key[0], key[1] != "all", key[1]))
    return [_score(way, kind, groups[way, kind]) for way, kind in order]


def _score(way: str, kind: str, answers: Sequence[tuple[bool, float | None]]) -> Score:
    count, right = len(answers), sum(right for right, _ in answers)
    low, high = wilson(right, count)
    measured = [measure for _, measure in answers if measure is not None]
    mean = sum(measured) / len(measured) if measured else None
    return Score(way, kind, count, 100 * right / count, 100 * low, 100 * high, mean)


def wilson(right: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927)."""
    share, square = right / count, z * z / count
    middle = share + square / 2
    spread = z * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, middle - spread) / (1 + square), min(1 + square, middle + spread) / (1 + square)


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.lower()) if word not in _ARTICLES]


def _phrase(text: str) -> str:
    """The words with a space around each, so that one is not found inside another."""
    return f" {' '.join(_words(text))} "
