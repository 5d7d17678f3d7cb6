"""Streams whose second 0 is a known moment of the wall clock."""

from datetime import UTC, datetime

import pytest

from rlivs.clock import COUNTED, Clock, parse_date_time
from rlivs.errors import InputError

pytestmark = pytest.mark.usefixtures("berlin")
NOON = datetime(2031, 5, 6, 10, tzinfo=UTC).timestamp()  # 12:00 in Berlin
DAY = 86400.0


def test_moments_are_told_by_the_clock():
    clock = Clock(NOON)
    assert clock.tell(7.9999999) == "2031-05-06 12:00:08"
    assert clock.tell_short(75.9) == "12:01:15"
    assert clock.tell_span(0, 3605) == "2031-05-06 12:00:00-13:00:05"
    assert clock.tell_span(0, DAY) == "2031-05-06 12:00:00-2031-05-07 12:00:00"
    assert clock.stamps(0, 1.5) == {"clock": ["2031-05-06T12:00:00+02:00", "2031-05-06T12:00:01+02:00"]}


def test_without_a_clock_moments_are_counted():
    assert (COUNTED.tell(75), COUNTED.tell_short(75), COUNTED.tell_span(8, 16)) == ("1:15", "1:15", "0:08-0:16")
    assert COUNTED.stamps(0, 8) == {} and COUNTED.midnight == 0 and COUNTED.parse("1:15", 0) == 75


def test_the_hour_that_summer_time_takes_back():
    clock = Clock(datetime(2031, 10, 25, 22, tzinfo=UTC).timestamp())  # midnight
    assert clock.tell_short(2.5 * 3600) == clock.tell_short(3.5 * 3600) == "02:30:00"
    first, second = clock.stamps(2.5 * 3600, 3.5 * 3600)["clock"]
    assert (first[-6:], second[-6:]) == ("+02:00", "+01:00")
    assert clock.parse("2031-10-26 12:00", DAY) == 13 * 3600
    assert clock.parse("2:30", 2.75 * 3600) == 2.5 * 3600 and clock.parse("2:30", 3.75 * 3600) == 3.5 * 3600


def test_a_short_recording():
    """14:05 to 14:08: a time of day without a date means that day, before, in and after it."""
    clock = Clock(datetime(2031, 5, 4, 14, 5).timestamp())
    assert [clock.parse(text, 216.0) for text in ("14:00", "14:06", "15:00")] == [-300, 60, 3300]


def test_beyond_the_calendar():
    for seconds in (1e12, float("inf")):
        with pytest.raises(InputError, match="no calendar has second"):
            Clock(NOON).tell(seconds)


def test_whole_hours_are_counted_from_midnight():
    assert Clock(NOON + 5).midnight == -12 * 3600 - 5


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12:30", 1800),
        ("13:30:05", 5405),
        ("9:00", 21 * 3600),
        ("11:50", -600),  # nearer than the next one, which lies further behind the end than this before second 0
        (" 9:40 ", 21 * 3600 + 2400),
        ("2031-05-06 12:30", 1800),
        ("2031-05-07T00:00:01", 12 * 3600 + 1),
        ("2031-05-07", 12 * 3600),
        ("90", 90),  # seconds of the stream, as ever
        ("0", 0),
    ],
)
def test_moments_are_read(text, seconds):
    assert Clock(NOON).parse(text, now=21.5 * 3600) == seconds


@pytest.mark.parametrize(
    "text", ["25:00", "12:61", "2031-13-01", "2031-05-06 noon", "noon", "-5", "1:2", ":", "-", "", "0001-01-01 00:00"]
)
def test_what_is_no_moment(text):
    with pytest.raises(InputError, match="is no time"):
        Clock(NOON).parse(text, now=0)


def test_a_start_is_read():
    assert parse_date_time("2031-05-06 12:00").timestamp() == NOON
    assert parse_date_time("2031-05-06 10:00:00+00:00").timestamp() == NOON
    for text in ("2031-05-06", "12:00", "yesterday", "", "2031-05-06 24:61", "9999-12-31 23:59"):
        with pytest.raises(InputError, match="is no date and time"):
            parse_date_time(text)
