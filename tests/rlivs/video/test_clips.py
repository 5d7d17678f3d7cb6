"""Clips of a video: what is in them, and that a resumed run gives the same ones."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlivs.errors import InputError
from rlivs.video import Frame, count_clips, iter_clips, make_clips


def same_clip(a, b) -> bool:
    return (a.index, a.times, a.start, a.end) == (b.index, b.times, b.start, b.end) and np.array_equal(
        a.frames, b.frames
    )


@pytest.mark.parametrize(("fps", "frames_per_clip"), [(0.5, 1), (2.0, 4), (7.3, 5), (25.0, 16), (40.0, 16)])
def test_clips_hold_the_frames_shown_at_their_times(video, read_number, fps, frames_per_clip):
    path, times = video
    clips = list(iter_clips(path, fps=fps, frames_per_clip=frames_per_clip))
    sampled = [time for clip in clips for time in clip.times]
    assert sampled == [k / fps for k in range(len(sampled))]
    # Containers round the encoded times by up to 0.1 ms: at a sample that near a frame's time, either is right.
    for clip in clips:
        for image, time in zip(clip.frames, clip.times, strict=True):
            number = read_number(image)
            assert times[number] <= time + 1e-4 or number == 0
            assert number + 1 == len(times) or time < times[number + 1] + 1e-4
    assert sampled[-1] < clips[-1].end and times[-1] < clips[-1].end + 1 / fps
    assert [clip.index for clip in clips] == list(range(len(clips)))
    assert all(len(clip.times) == len(clip.frames) == frames_per_clip for clip in clips[:-1])
    assert 1 <= len(clips[-1].times) == len(clips[-1].frames) <= frames_per_clip
    assert [clip.start for clip in clips] == [clip.times[0] for clip in clips]
    assert [clip.end for clip in clips[:-1]] == [clip.start for clip in clips[1:]]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([0.5, 1.0, 3.3, 12.5, 25.0, 31.0]), st.integers(1, 17), st.data())
def test_a_run_from_clip_k_on_gives_the_clips_of_a_full_run(video, fps, frames_per_clip, data):
    path, _ = video
    clips = list(iter_clips(path, fps=fps, frames_per_clip=frames_per_clip))
    first = data.draw(st.integers(0, len(clips) + 1))
    resumed = list(iter_clips(path, fps=fps, frames_per_clip=frames_per_clip, first_clip=first))
    assert len(resumed) == max(0, len(clips) - first)
    assert all(same_clip(a, b) for a, b in zip(resumed, clips[first:], strict=True))


def test_the_last_clip_ends_with_the_video(encode, tmp_path):
    path = encode(tmp_path / "v.mp4", [Fraction(i, 25) for i in range(95)])  # 3.8 s
    assert [(clip.start, clip.end, len(clip.times)) for clip in iter_clips(path, fps=1, frames_per_clip=2)] == [
        (0.0, 2.0, 2),
        (2.0, 3.8, 2),
    ]
    assert [(clip.start, clip.end, len(clip.times)) for clip in iter_clips(path, fps=1, frames_per_clip=3)] == [
        (0.0, 3.0, 3),
        (3.0, 3.8, 1),
    ]


@pytest.mark.parametrize(("fps", "frames_per_clip"), [(0.5, 16), (1, 2), (1, 3), (25, 16), (0.1, 1)])
def test_the_count_is_that_of_a_full_run(encode, tmp_path, fps, frames_per_clip):
    for name, codec in (("v.mp4", "libx264"), ("v.mkv", "libx264"), ("v.avi", "mpeg4"), ("v.ts", "libx264")):
        path = encode(tmp_path / name, [Fraction(i, 25) for i in range(95)], codec=codec, time_base=Fraction(1, 25))
        clips = list(iter_clips(path, fps=fps, frames_per_clip=frames_per_clip))
        assert count_clips(path, fps=fps, frames_per_clip=frames_per_clip) == len(clips)


def test_no_count_without_a_duration(encode, tmp_path):
    path = encode(tmp_path / "v.h264", [Fraction(i, 25) for i in range(50)])
    assert count_clips(path, fps=1) is None


def test_a_change_of_resolution_inside_a_clip(encode, tmp_path, read_number):
    small = encode(tmp_path / "a.ts", [Fraction(i, 25) for i in range(50)], options={"bf": "0"})
    large = encode(
        tmp_path / "b.ts", [Fraction(i, 25) for i in range(50)], size=(128, 96), first_number=50, options={"bf": "0"}
    )
    joined = tmp_path / "joined.ts"
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    clips = list(iter_clips(joined, fps=5, frames_per_clip=8))
    assert [clip.frames.shape for clip in clips] == [(8, 48, 64, 3), (8, 48, 64, 3), (4, 96, 128, 3)]
    numbers = [read_number(image) for clip in clips for image in clip.frames]
    assert numbers == list(range(0, 100, 5))


def test_frames_that_do_not_say_when_they_end_make_clips_too():
    frames = [Frame(np.full((2, 2, 3), i, np.uint8), i / 2) for i in range(5)]
    clips = list(make_clips(frames, fps=2, frames_per_clip=3, first_index=4))
    assert [(clip.index, clip.times, clip.start, clip.end) for clip in clips] == [
        (4, (0.0, 0.5, 1.0), 0.0, 1.5),
        (5, (1.5, 2.0), 1.5, 2.5),
    ]
    assert list(make_clips(frames, fps=2, frames_per_clip=3, end=2.1))[-1].end == 2.1
    assert list(make_clips([], fps=2)) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"fps": 0}, "above 0"), ({"frames_per_clip": 0}, "at least 1"), ({"first_clip": -1}, "the first is 0")],
)
def test_settings_out_of_range(encode, tmp_path, wrong, message):
    path = encode(tmp_path / "v.mp4", [Fraction(i, 25) for i in range(5)])
    with pytest.raises(InputError, match=message):
        list(iter_clips(path, **{"fps": 1, **wrong}))


RESIDENT = """
import os, sys
import psutil
from rlivs.video import iter_clips
process = psutil.Process(os.getpid())
print(*(process.memory_info().rss for _ in iter_clips(sys.argv[1], fps=2, frames_per_clip=16)))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_the_video(encode, tmp_path):
    """Two hours at 2 frames a second: kept, the decoded frames would take 66 MB and their RGB images 133 MB."""
    path = encode(
        tmp_path / "long.mp4",
        [Fraction(i, 2) for i in range(14_400)],
        codec="mpeg4",
        time_base=Fraction(1, 2),
        rate=2,
    )
    # In a process of its own: what tests before this one have left behind may still move.
    done = subprocess.run([sys.executable, "-c", RESIDENT, path], capture_output=True, text=True, check=True)
    resident = [int(size) for size in done.stdout.split()]
    assert len(resident) == 900
    assert max(resident[90:]) - max(resident[:90]) < 6 * 2**20
