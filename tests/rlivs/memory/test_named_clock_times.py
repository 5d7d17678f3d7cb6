"""Days and times of day in ordinary English, and what is none."""

from datetime import datetime

import pytest

from rlivs.clock import Clock
from rlivs.memory.named_times import spans_in

pytestmark = pytest.mark.usefixtures("berlin")


def named(question, hour=16.0):
    """Spans in a question that is asked on Tuesday, the 6th, by a stream that began on Monday, as days and times."""
    clock = Clock(datetime(2031, 5, 5, 8).timestamp())
    return [
        tuple(f"{clock.local(moment):%d %H:%M:%S}" for moment in span)
        for span in spans_in(question, now=(16 + hour) * 3600, clock=clock)
    ]


@pytest.mark.parametrize(
    ("question", "spans"),
    [
        ("What happened at 14:05?", [("06 14:05:00", "06 14:06:00")]),
        ("Who came at 9:05:12?", [("06 09:05:12", "06 09:05:13")]),
        ("Who came at 17:00?", [("05 17:00:00", "05 17:01:00")]),  # it is four in the afternoon
        ("And at 2 pm, 2:05 P.M. or 12am?", [("06 14:00:00", "06 14:01:00"), ("06 14:05:00", "06 14:06:00"),
                                             ("06 00:00:00", "06 00:01:00")]),
        ("Who came between 14:00 and 15:30?", [("06 14:00:00", "06 15:31:00")]),
        ("Who came between 2 and 3 pm?", [("06 14:00:00", "06 15:01:00")]),
        ("Who came from 11 to 2 pm?", [("06 11:00:00", "06 14:01:00")]),
        ("Who came from 9am until noon?", [("06 09:00:00", "06 12:01:00")]),
        ("What happened yesterday from 23:00 to 1:00?", [("05 23:00:00", "06 01:01:00")]),
        ("What happened at 14:05 yesterday?", [("05 14:05:00", "05 14:06:00")]),
        ("What is told in 2031-05-06 14:05:12-14:05:44?", [("06 14:05:12", "06 14:05:45")]),
        ("Who came from midnight to 6 am?", [("06 00:00:00", "06 06:01:00")]),
        ("Who came from 12 to 3 am?", [("06 00:00:00", "06 03:01:00")]),
        ("Who came from 14:30 to 3 pm?", [("06 14:30:00", "06 15:01:00")]),
        ("Who came between 2031-05-04 14:00 and 2031-05-05 15:00?", [("04 14:00:00", "05 15:01:00")]),
        ("Who came between 2031-05-04 14:00 and 15:00?", [("04 14:00:00", "04 15:01:00")]),
        ("Who came at 2031-05-04T14:00, and yesterday at 9 am?", [("04 14:00:00", "04 14:01:00"),
                                                                  ("05 09:00:00", "05 09:01:00")]),
        ("What of yesterday evening and this morning?", [("05 18:00:00", "06 00:00:00"),
                                                         ("06 05:00:00", "06 12:00:00")]),
        ("Who came this morning?", [("06 05:00:00", "06 12:00:00")]),
        ("Who came in the evening?", [("05 18:00:00", "06 00:00:00")]),
        ("Who was there last night?", [("05 21:00:00", "06 06:00:00")]),
        ("Who came yesterday?", [("05 00:00:00", "06 00:00:00")]),
        ("Who came today?", [("06 00:00:00", "07 00:00:00")]),
        ("Who came on Monday afternoon?", [("05 12:00:00", "05 18:00:00")]),
        ("Who came on Tuesday?", [("06 00:00:00", "07 00:00:00")]),
        ("Who came on Wednesday?", [("30 00:00:00", "01 00:00:00")]),
        ("Who came on 2031-05-04?", [("04 00:00:00", "05 00:00:00")]),
        ("What did you see ten minutes ago?", [("06 15:49:30", "06 15:50:30")]),
        ("Who came in the last hour?", [("06 15:00:00", "06 16:00:00")]),
        ("Is the film in 16:9, at 25:00, 13 pm, 9:61 or 1:02:03:04?", []),
        ("Was it the 2031-13-45 or 9999-12-31?", []),
        ("Is a good day one that has 3 cars and 14 dogs?", []),
    ],
)  # fmt: skip
def test_spans_in_a_question(question, spans):
    assert named(question) == spans


def test_a_night_that_is_not_over():
    assert named("Who came tonight?", hour=23) == [("06 21:00:00", "07 06:00:00")]
    assert named("Who came tonight?", hour=2) == [("05 21:00:00", "06 06:00:00")]


def test_the_hour_that_comes_twice():
    clock = Clock(datetime(2031, 10, 26).timestamp())
    assert spans_in("Who came at 2:30?", 6 * 3600, clock) == [(9000, 9060), (12600, 12660)]
    assert spans_in("Who came today?", 6 * 3600, clock) == [(0, 25 * 3600)]
