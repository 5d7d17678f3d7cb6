"""Clips from frames as they come."""

import numpy as np
import pytest

from rlivs.video import Frame, iter_clips
from rlivs.video.clip_builder import ClipBuilder
from rlivs.video.live import open_source


def frame(time, value=0):
    return Frame(np.full((2, 2, 3), value, np.uint8), time)


def fed(builder, times):
    clips = []
    for time in times:
        clips += builder.push(frame(time, int(time) % 256))[1]
    return clips


@pytest.mark.parametrize("fps", [4, 3, 0.7])
def test_a_file_gives_the_clips_of_iter_clips(film, fps):
    builder = ClipBuilder(fps, 4, hold_back=True)
    clips = [clip for each in open_source(film).frames() for clip in builder.push(each)[1]]
    clips += builder.cut()[1]
    expected = list(iter_clips(film, fps=fps, frames_per_clip=4))
    assert [(clip.times, clip.start, clip.end) for clip in clips] == [(e.times, e.start, e.end) for e in expected]
    assert all(np.array_equal(clip.frames, e.frames) for clip, e in zip(clips, expected, strict=True))


def test_a_file_continued_gives_the_rest(film):
    builder = ClipBuilder(4, 4, start=3.0, hold_back=True)
    clips = [clip for each in open_source(film).frames(3.0) for clip in builder.push(each)[1]]
    clips += builder.cut()[1]
    expected = list(iter_clips(film, fps=4, frames_per_clip=4, first_clip=3))
    assert [clip.times for clip in clips] == [e.times for e in expected]
    assert all(np.array_equal(clip.frames, e.frames) for clip, e in zip(clips, expected, strict=True))


def test_a_live_clip_comes_with_its_last_sample():
    builder = ClipBuilder(1, 4)
    assert fed(builder, [0, 1, 2, 3]) == []
    [clip] = fed(builder, [3.5])  # now it is known what was shown at 3
    assert clip.times == (0, 1, 2, 3) and clip.end == 4


def test_a_gap_cuts_a_clip_short_and_sampling_goes_on_after_it():
    builder = ClipBuilder(1, 4)
    fed(builder, [0, 0.5, 1, 1.5])
    [short] = builder.cut()[1]
    assert short.times == (0, 1) and short.end == 2
    # No sample shows an old picture for the time of the gap.
    [clip] = fed(builder, [10.5, 11.2, 12.1, 13, 14, 15])
    assert clip.times == (11, 12, 13, 14)
    assert clip.frames[:, 0, 0, 0].tolist() == [10, 11, 13, 14]


def test_cutting_twice_gives_nothing_twice():
    builder = ClipBuilder(1, 4)
    fed(builder, [0, 1])
    assert len(list(builder.cut()[1])) == 1
    samples, clips = builder.cut()
    assert samples == list(clips) == []
