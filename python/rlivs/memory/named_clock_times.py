"""The days and times of day that a question names, on a stream that is told by the wall clock."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, time, timedelta

from rlivs.clock import Clock

# Hours of the day from which and up to which; a night ends on the next day.
_PARTS = {"morning": (5, 12), "afternoon": (12, 18), "evening": (18, 24), "night": (21, 30)}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_HALF = r"(?:\s*([ap])\.?m\b\.?)"
_TIME = rf"(?<![\d:.,])(\d{{1,2}})(?::([0-5]\d)(?::([0-5]\d))?{_HALF}?|{_HALF})(?![\d:])"
_FIRST = rf"(?<![\d:.,-])(\d{{1,2}})(?::([0-5]\d)(?::([0-5]\d))?)?{_HALF}?"
_TO = r"\s*(?:-|–|to|and|until|till)\s*"
_RANGE = re.compile(rf"{_FIRST}{_TO}{_TIME}", re.IGNORECASE)
_MOMENT = re.compile(_TIME, re.IGNORECASE)
_DATE = r"(?:19|20|21)\d\d-\d\d-\d\d"
_DAY = re.compile(rf"\b(?:today|yesterday|last night|{'|'.join(_WEEKDAYS)})\b|(?<!\d){_DATE}(?!\d)", re.IGNORECASE)
_WORDS = {re.compile(r"\bnoon\b", re.IGNORECASE): "12:00", re.compile(r"\bmidnight\b", re.IGNORECASE): "0:00"}
_PART = re.compile(rf"\b({'|'.join(_PARTS)}|tonight)\b", re.IGNORECASE)
_PART_OF_DAY = re.compile(rf"\b(this|{_DAY.pattern})\s+({'|'.join(_PARTS)})\b", re.IGNORECASE)
_DATED = re.compile(rf"(?<!\d)({_DATE})[T ]{_TIME}(?:{_TO}(?:({_DATE})[T ])?{_TIME})?", re.IGNORECASE)

Hours = tuple[timedelta, timedelta]  # from midnight, and how long
Span = tuple[datetime, datetime]


def clock_spans_in(question: str, now: float, clock: Clock) -> list[tuple[float, float]]:
    """The spans `[start, end)` in seconds of the stream that a question in English, asked at its second `now`, names.

    Understood are `14:05` (that minute), `14:05:12` (that second), `2 pm`, `2:05 pm`, `noon`, `midnight`; two of them
    with a dash, `to`, `and` or `until` between; `today`, `yesterday`, `monday`, ..., `2031-05-04`; `morning`,
    `afternoon`, `evening`, `night`, `tonight`, `last night`. Without a day a time is the last one that had come by
    `now`; a weekday is the last one, or today. No other words are.
    """
    asked = clock.local(now)
    for word, digits in _WORDS.items():
        question = word.sub(digits, question)
    spans = []
    # What carries a day of its own comes first, and is taken out: the days that are left are those of all other times.
    for match in _DATED.finditer(question):
        spans += _dated(match)
    question = _DATED.sub(" ", question)
    for match in _PART_OF_DAY.finditer(question):
        named = _day(match[1].lower(), asked)
        spans += _placed(*_part(match[2]), [] if named is None else [named], asked)
    question = _PART_OF_DAY.sub(" ", question)
    days = [day for match in _DAY.finditer(question) if (day := _day(match[0].lower(), asked)) is not None]
    hours = [*_times(question), *(_part(match[1]) for match in _PART.finditer(question))]
    if not hours:
        spans += [(day, day + timedelta(days=1)) for day in days]
    for start, length in hours:
        spans += _placed(start, length, days, asked)
    # Where summer time ends, an hour comes twice, and both are named.
    folds = [(start.replace(fold=fold), end.replace(fold=fold)) for start, end in spans for fold in (0, 1)]
    return list(dict.fromkeys((clock.seconds(start), clock.seconds(end)) for start, end in folds))


def _day(name: str, asked: datetime) -> datetime | None:
    """Where the day begins; None for a date that no calendar has."""
    today = datetime.combine(asked, time())
    if name in _WEEKDAYS:
        return today - timedelta(days=(today.weekday() - _WEEKDAYS.index(name)) % 7)
    if name in ("yesterday", "last night"):
        return today - timedelta(days=1)
    if name == "today":
        return today
    try:
        return datetime.fromisoformat(name)
    except ValueError:
        return None


def _dated(match: re.Match[str]) -> list[Span]:
    """`2031-05-04 14:05`, or up to another such moment or time."""
    day = _day(match[1], datetime.max)
    begin = _of_day(match[2], match[3], match[4], match[5] or match[6])
    if day is None or begin is None:
        return []
    stop = begin + _length(match[4])
    if match[8] is None:
        return [(day + begin, day + stop)]
    last = day if match[7] is None else _day(match[7], datetime.max)
    end = _of_day(match[8], match[9], match[10], match[11] or match[12])
    if last is None or end is None:
        return [(day + begin, day + stop)]
    until = last + end + _length(match[10])
    return [(day + begin, until if until > day + begin else until + timedelta(days=1))]


def _times(question: str) -> Iterable[Hours]:
    """Ranges of times and single times of day."""
    rest = question
    for match in _RANGE.finditer(question):
        half = match[8] or match[9]
        begin = _of_day(match[1], match[2], match[3], match[4] or half)
        inherited = begin is not None and not match[4]
        if begin is None:  # from 0:00 to 6 am
            begin = _of_day(match[1], match[2], match[3], match[4])
        end = _of_day(match[5], match[6], match[7], half)
        if begin is not None and end is not None:
            if half and inherited and begin > end:
                begin -= timedelta(hours=12)  # from 11 to 2 pm
            stop = end + _length(match[7])
            yield begin, stop - begin if stop > begin else stop + timedelta(days=1) - begin
            rest = rest.replace(match[0], " ")
    for match in _MOMENT.finditer(rest):
        begin = _of_day(match[1], match[2], match[3], match[4] or match[5])
        if begin is not None:
            yield begin, _length(match[3])


def _part(name: str) -> Hours:
    start, end = _PARTS.get(name.lower(), _PARTS["night"])
    return timedelta(hours=start), timedelta(hours=end - start)


def _of_day(hour: str, minute: str | None, second: str | None, half: str | None) -> timedelta | None:
    """A time since midnight; None for what no clock shows."""
    value = int(hour)
    if half is not None:
        if not 1 <= value <= 12:
            return None
        value = value % 12 + (12 if half.lower() == "p" else 0)
    if value > 23:
        return None
    return timedelta(hours=value, minutes=int(minute or 0), seconds=int(second or 0))


def _length(second: str | None) -> timedelta:
    """The minute or second that a time names belongs to it."""
    return timedelta(minutes=1) if second is None else timedelta(seconds=1)


def _placed(start: timedelta, length: timedelta, days: Iterable[datetime], asked: datetime) -> Iterable[Span]:
    """On each of the days; without one on the last day on which it had begun by then."""
    today = datetime.combine(asked, time())
    for day in days or [today if today + start <= asked else today - timedelta(days=1)]:
        yield day + start, day + start + length
