"""The wall clock of a stream whose second 0 is a known moment: a camera, or film of one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from rlivs.errors import InputError
from rlivs.times import format_time, parse_time

# Of a stream's second 0: a long stream must not outlast the calendar.
YEARS = range(1970, 3000)
_DATE_TIME = re.compile(r"(?:(\d{4}-\d\d-\d\d)(?:[ T]|$))?(?:(\d\d?):(\d\d)(?::(\d\d))?)?")


@dataclass(frozen=True)
class Clock:
    """How the moments of a stream are told: counted from its second 0, or by the wall clock of the local time zone.

    epoch: the Unix time of second 0; None where moments are counted.
    """

    epoch: float | None = None

    def tell(self, seconds: float) -> str:
        """`1:15`; by the wall clock `2031-05-04 14:05:12`. Whole seconds, rounded down."""
        return format_time(seconds) if self.epoch is None else f"{self.local(seconds):%Y-%m-%d %H:%M:%S}"

    def tell_short(self, seconds: float) -> str:
        """`1:15`; by the wall clock `14:05:12`."""
        return format_time(seconds) if self.epoch is None else f"{self.local(seconds):%H:%M:%S}"

    def tell_span(self, start: float, end: float, *, dash: str = "-") -> str:
        """`1:15-1:47`; by the wall clock `2031-05-04 14:05:12-14:05:44`, with a second date where that is another."""
        first, last = self.tell(start), self.tell(end)
        if self.epoch is not None and last[:10] == first[:10]:
            last = last[11:]
        return f"{first}{dash}{last}"

    def stamps(self, start: float, end: float) -> dict[str, list[str]]:
        """For JSON: under `clock` both moments in ISO 8601 with the zone's distance from UTC; empty where counted."""
        if self.epoch is None:
            return {}
        return {"clock": [self._moment(seconds).astimezone().isoformat() for seconds in (start, end)]}

    def local(self, seconds: float) -> datetime:
        """The local date and time, without a zone, of a moment of the stream. Needs an epoch."""
        return self._moment(seconds).astimezone().replace(tzinfo=None)

    @property
    def midnight(self) -> float:
        """From here on whole hours are round ones: the midnight before second 0, in seconds of the stream, or 0."""
        return 0.0 if self.epoch is None else self.seconds(datetime.combine(self.local(0), time()))

    def seconds(self, local: datetime) -> float:
        """The stream's seconds at a local date and time. Needs an epoch."""
        assert self.epoch is not None
        return local.timestamp() - self.epoch

    def parse(self, text: str, now: float) -> float:
        """Seconds of the stream from `75`, `1:15`, `1:01:15`; by the wall clock `14:05`, `14:05:12`, a date, or both.

        A time without a date is the last one between second 0 and `now`, the stream's last; where there is none, the
        one nearest to these. Plain numbers are seconds of the stream always. Raises InputError for anything else.
        """
        if self.epoch is None or not (":" in text or "-" in text.strip()[1:]):
            return parse_time(text)
        match = _DATE_TIME.fullmatch(text.strip())
        try:
            if match is None:
                raise ValueError
            hour, minute, second = (int(part or 0) for part in match.groups()[1:])
            day = datetime.fromisoformat(match[1]) if match[1] else self.local(now)
            local = day.replace(hour=hour, minute=minute, second=second)
            days = [local] if match[1] else [local + timedelta(days=number) for number in (-1, 0, 1)]
            # Where summer time ends, an hour comes twice.
            moments = [self.seconds(each.replace(fold=fold)) for each in days for fold in (0, 1)]
        except (ValueError, OverflowError):
            raise InputError(f"'{text}' is no time; write 14:05, 2031-05-04 14:05, or seconds of the stream") from None
        return min(moments, key=lambda moment: (max(-moment, moment - now, 0.0), -moment))

    def _moment(self, seconds: float) -> datetime:
        assert self.epoch is not None
        try:
            # The small term is that of format_time.
            return datetime.fromtimestamp(int(self.epoch + seconds + 1e-6), UTC)
        except (ValueError, OverflowError, OSError):
            raise InputError(f"no calendar has second {seconds:g} of the stream; name an earlier moment") from None


COUNTED = Clock()


def parse_date_time(text: str) -> datetime:
    """`2031-05-04 14:05:00`, local unless it ends in a distance from UTC such as `+02:00`, as a moment.

    Raises InputError for anything else.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        if ":" not in text or moment.year not in YEARS:
            raise ValueError  # a date alone is no moment
        return moment.astimezone()
    except (ValueError, OverflowError, OSError):
        raise InputError(f"'{text}' is no date and time; write it as 2031-05-04 14:05:00") from None
