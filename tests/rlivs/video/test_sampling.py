"""Sampling by time against the plain definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlivs.errors import InputError
from rlivs.video import Frame, Sampler, sample_frames

# Times on a grid of 1/64 s, so that frames and samples often fall together exactly.
grid_times = st.lists(st.integers(0, 640).map(lambda n: n / 64), min_size=1, max_size=40).map(sorted)
rates = st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0, 8.0, 29.97])


def frames_at(times: list[float], end: float | None) -> list[Frame]:
    image = np.zeros((1, 1, 3), np.uint8)
    last = len(times) - 1
    return [Frame(image + i, time, end if i == last else None) for i, time in enumerate(times)]


def by_definition(
    times: list[float], end: float | None, fps: float, start: float, stop: float
) -> list[tuple[float, int]]:
    samples = []
    for k in range(10_000):
        time = start + k / fps
        if time >= stop or (time > times[-1] if end is None else time >= end):
            break
        shown = [i for i, each in enumerate(times) if each <= time]
        samples.append((time, shown[-1] if shown else 0))
    return samples


@given(grid_times, st.none() | st.floats(0.01, 3), rates, st.integers(0, 640), st.none() | st.integers(0, 640))
def test_the_frame_shown_at_each_sampling_time(times, tail, fps, start, duration):
    end = None if tail is None else times[-1] + tail
    start, duration = start / 64, None if duration is None else duration / 64
    samples = list(sample_frames(frames_at(times, end), fps, start, duration))
    stop = math.inf if duration is None else start + duration
    expected = by_definition(times, end, fps, start, stop)
    assert [(sample.time, int(sample.image[0, 0, 0])) for sample in samples] == expected
    assert [sample.end for sample in samples[:-1]] == [sample.time for sample in samples[1:]]
    if samples:
        following = start + len(samples) / fps
        assert samples[-1].end == min(following, stop, math.inf if end is None else end)


@given(grid_times, rates, st.integers(0, 60))
def test_starting_at_sample_n_gives_the_tail_to_the_last_bit(times, fps, first):
    frames = frames_at(times, times[-1] + 0.5)
    every = [(s.time, s.end, int(s.image[0, 0, 0])) for s in sample_frames(frames, fps)]
    tail = [(s.time, s.end, int(s.image[0, 0, 0])) for s in sample_frames(frames, fps, first_sample=first)]
    assert tail == every[first:]


@given(grid_times, rates, st.integers(0, 640))
def test_pushing_frames_one_by_one_gives_the_same_samples(times, fps, start):
    frames = frames_at(times, times[-1] + 0.5)
    sampler = Sampler(fps, start / 64)
    pushed = [sample for frame in frames for sample in sampler.push(frame)] + sampler.finish()
    assert [sample.time for sample in pushed] == [s.time for s in sample_frames(frames, fps, start / 64)]
    assert sampler.finish() == []


def test_the_last_sample_ends_with_a_video_shorter_than_the_duration_asked_for():
    frames = frames_at([0.0, 4.5, 5.0], 5.25)
    assert [(s.time, s.end) for s in sample_frames(frames, fps=0.5, duration=5.5)] == [(0, 2), (2, 4), (4, 5.25)]


def test_a_sample_is_given_as_soon_as_the_next_is_known():
    taken = []

    def frames():
        for frame in frames_at([n / 10 for n in range(100)], 10.0):
            taken.append(frame.time)
            yield frame

    samples = sample_frames(frames(), fps=1.0)
    assert next(samples).time == 0.0
    assert taken[-1] == 1.1  # the frame shown at 1 s is known once a later one comes


def test_sampling_stops_taking_frames_at_its_end():
    taken = []

    def frames():
        for frame in frames_at([n / 10 for n in range(100)], 10.0):
            taken.append(frame.time)
            yield frame

    assert len(list(sample_frames(frames(), fps=1.0, duration=3.0))) == 3
    assert taken[-1] <= 3.0


def test_no_frames_no_samples():
    assert list(sample_frames([], fps=1.0)) == []
    assert Sampler(1.0).finish() == []


@pytest.mark.parametrize("fps", [0, -1.0, math.nan, math.inf])
def test_an_impossible_rate_is_refused_at_once(fps):
    with pytest.raises(InputError, match="above 0"):
        sample_frames([], fps=fps)


def test_frames_out_of_order_are_refused():
    sampler = Sampler(1.0)
    first, second = frames_at([1.0, 2.0], None)
    sampler.push(second)
    with pytest.raises(InputError, match="in order of time"):
        sampler.push(first)
