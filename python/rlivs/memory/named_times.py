"""The times that a question names: embeddings know none."""

from __future__ import annotations

import re

from rlivs.clock import COUNTED, Clock
from rlivs.memory.named_clock_times import clock_spans_in
from rlivs.times import parse_time

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_ONES = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBERS = {"half a": 0.5, "half an": 0.5, "a": 1.0, "an": 1.0}
_NUMBERS |= {one: 1.0 + i for i, one in enumerate(_ONES)} | {ten: 20.0 + 10 * i for i, ten in enumerate(_TENS)}
_NUMBERS |= {f"{ten}{gap}{one}": _NUMBERS[ten] + _NUMBERS[one] for ten in _TENS for gap in "- " for one in _ONES[:9]}
_CLOCK = r"(?<![\d:.])\d{1,9}:[0-5]\d(?::[0-5]\d)?(?![\d:])"
# No number is read from its end alone ("1,000 s", "a quarter of an hour"), and a word stands apart from its unit, or
# "first as" would be a second.
_NUMBER = rf"(?:(?<![\w.,])\d{{1,9}}(?:\.\d+)?\s*|(?<!\bof )\b(?:{'|'.join(_NUMBERS)})\s+)"
_UNIT = r"(?:s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)\b"
_AMOUNT = rf"{_NUMBER}{_UNIT}(?:(?:,|,?\s+and)?\s+{_NUMBER}{_UNIT}){{0,3}}"
_RANGE = re.compile(rf"({_CLOCK})(?:\s*(?:-|–|to|and|until|till)\s*({_CLOCK}))?", re.IGNORECASE)
_AGO = re.compile(rf"({_AMOUNT})\s+ago\b", re.IGNORECASE)
_EDGE = re.compile(rf"\b(first|last|past)\s+({_AMOUNT}|{_UNIT})", re.IGNORECASE)
_PART = re.compile(rf"({_NUMBER}|\b)({_UNIT})", re.IGNORECASE)


def spans_in(question: str, now: float, clock: Clock = COUNTED) -> list[tuple[float, float]]:
    """The spans `[start, end)` in seconds of the stream that a question in English, asked at the moment `now`, names.

    Understood are `1:15` and `1:01:15`; two of them with a dash, `to`, `and` or `until` between; `ten minutes ago` and
    `1 hour and 5 minutes ago`, to half a unit before and after; `the last hour`; `the first 5 minutes`. No
    other words are. On a stream that is told by the wall clock, days and times of day stand in for the first two:
    `clock_spans_in`.
    """
    if clock.epoch is not None:
        spans = clock_spans_in(question, now, clock)
    else:
        spans = [_counted(match) for match in _RANGE.finditer(question)]
    for match in _AGO.finditer(question):
        seconds, unit = _seconds(match[1])
        spans.append((now - seconds - unit / 2, now - seconds + unit / 2))
    for match in _EDGE.finditer(question):
        seconds, _ = _seconds(match[2])
        spans.append((0.0, seconds) if match[1].lower() == "first" else (now - seconds, now))
    return spans


def _counted(match: re.Match[str]) -> tuple[float, float]:
    first, last = sorted(parse_time(moment) for moment in (match[1], match[2] or match[1]))
    return first, last + 1  # the second that a time names belongs to it


def _seconds(amount: str) -> tuple[float, float]:
    """The seconds of `1 hour and 5 minutes`, and of its smallest unit."""
    seconds, smallest = 0.0, float("inf")
    for number, name in _PART.findall(amount):
        word, unit = number.strip().lower(), _UNITS[name[0].lower()]
        seconds += unit * (_NUMBERS[word] if word in _NUMBERS else float(word or 1))
        smallest = min(smallest, unit)
    return seconds, smallest
