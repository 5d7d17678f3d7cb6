"""Moments of a stream as people write them."""

from __future__ import annotations

import re

from rlivs.errors import InputError


def format_time(seconds: float) -> str:
    """`m:ss`, from one hour on `h:mm:ss`; whole seconds, rounded down."""
    # The small term keeps 7.9999999, which a sampling rate of 1/3 makes of 8, from reading as 7.
    whole = int(seconds + 1e-6)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def parse_time(text: str) -> float:
    """Seconds from `75`, `1:15` or `1:01:15`. Raises InputError for anything else."""
    parts = text.strip().split(":")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if not 1 <= len(values) <= 3 or any(value < 0 or value != value or value == float("inf") for value in values):
        raise InputError(f"'{text}' is no time; write seconds or m:ss or h:mm:ss")
    seconds = 0.0
    for value in values:
        seconds = seconds * 60 + value
    return seconds


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


def spans_in(question: str, now: float) -> list[tuple[float, float]]:
    """The spans `[start, end)` in seconds of the stream that a question in English, asked at the moment `now`, names.

    Understood are `1:15` and `1:01:15`; two of them with a dash, `to`, `and` or `until` between; `ten minutes ago` and
    `1 hour and 5 minutes ago`, to half a unit before and after; `the last hour`; `the first 5 minutes`. No
    other words are.
    """
    spans = []
    for match in _RANGE.finditer(question):
        moments = sorted(parse_time(clock) for clock in (match[1], match[2] or match[1]))
        spans.append((moments[0], moments[1] + 1))  # the second that a time names belongs to it
    for match in _AGO.finditer(question):
        seconds, unit = _seconds(match[1])
        spans.append((now - seconds - unit / 2, now - seconds + unit / 2))
    for match in _EDGE.finditer(question):
        seconds, _ = _seconds(match[2])
        spans.append((0.0, seconds) if match[1].lower() == "first" else (now - seconds, now))
    return spans


def _seconds(amount: str) -> tuple[float, float]:
    """The seconds of `1 hour and 5 minutes`, and of its smallest unit."""
    seconds, smallest = 0.0, float("inf")
    for number, name in _PART.findall(amount):
        word, unit = number.strip().lower(), _UNITS[name[0].lower()]
        seconds += unit * (_NUMBERS[word] if word in _NUMBERS else float(word or 1))
        smallest = min(smallest, unit)
    return seconds, smallest
