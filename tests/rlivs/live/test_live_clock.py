"""Stream times of live frames."""

import pytest

from rlivs.video.live_clock import DELAY_WINDOW, LARGEST_DRIFT, LiveClock


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


def test_timestamps_a_little_too_slow_do_not_add_up():
    """A camera's clock that loses 100 ppm would be 8.6 s behind after a day."""
    clock = LiveClock()
    day = [clock.time_of(second * (1 - 1e-4), second) for second in range(86401)]
    assert day == sorted(day)
    assert 86400 - day[-1] <= LARGEST_DRIFT + 0.01


def test_timestamps_a_little_too_fast_wait_for_the_clock():
    clock = LiveClock()
    day = [clock.time_of(second * (1 + 1e-4), second) for second in range(86401)]
    assert day == sorted(day)
    assert day[-1] - 86400 <= LARGEST_DRIFT + 0.01


def test_timestamps_at_half_the_rate():
    clock = LiveClock()
    hour = [clock.time_of(second / 2, second) for second in range(3601)]
    assert hour == sorted(hour)
    assert 3600 - hour[-1] <= DELAY_WINDOW + LARGEST_DRIFT


def test_bursts_and_late_frames_are_no_drift():
    """A playlist of segments of 10 s, three at once in the beginning, each later one up to 8 s late."""
    clock = LiveClock()
    for segment in range(360):
        late = (0, 8, 2, 5)[segment % 4]
        arrival = 10 * max(0, segment - 2) + (late if segment > 2 else 0)
        for second in range(10 * segment, 10 * segment + 10):
            assert clock.time_of(second, arrival) == second
