"""Stream times of live frames."""

import pytest

from rlivs.video.live_clock import LiveClock


def times(*frames):
    clock = LiveClock()
    return [clock.time_of(stamp, arrival) for stamp, arrival in frames]


def test_timestamps_give_the_distance_between_frames():
    # Arrivals jitter, timestamps do not.
    assert times((100.0, 7.0), (100.5, 7.9), (101.0, 8.0)) == [0.0, 0.5, 1.0]


def test_without_timestamps_arrivals_count():
    assert times((None, 7.0), (None, 7.25), (None, 9.0)) == [0.0, 0.25, 2.0]


def test_timestamps_that_come_and_go():
    assert times((50.0, 1.0), (None, 1.5), (51.0, 2.0), (51.5, 2.4)) == [0.0, 0.5, 1.0, 1.5]


@pytest.mark.parametrize("stamp", [3.0, 99999.0])
def test_timestamps_that_start_anew(stamp):
    """A camera that was set to another time: the clock of arrivals bridges the leap."""
    assert times((50.0, 0.0), (50.5, 0.5), (stamp, 1.0), (stamp + 0.5, 1.5)) == [0.0, 0.5, 1.0, 1.5]


def test_a_burst_is_not_a_leap():
    """A playlist's first segments come at once."""
    assert times((0.0, 0.0), (4.0, 0.01), (8.0, 0.02)) == [0.0, 4.0, 8.0]


def test_time_never_decreases_after_a_burst_and_a_new_connection():
    clock = LiveClock()
    clock.time_of(0.0, 0.0)
    assert clock.time_of(8.0, 0.1) == 8.0
    clock.connect()
    assert clock.time_of(500.0, 1.0) == 8.0
    assert clock.time_of(501.0, 20.0) == 9.0


def test_a_new_connection_is_placed_by_the_clock():
    clock = LiveClock()
    clock.time_of(10.0, 100.0)
    clock.connect()
    assert clock.time_of(10.0, 130.0) == 30.0
    assert clock.time_of(10.5, 130.6) == 30.5
