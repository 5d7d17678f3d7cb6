"""Frames that a program pushes: what is taken, what is refused."""

import numpy as np
import pytest
import torch

from rlivs.errors import InputError

FRAME = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)


@pytest.mark.parametrize(
    "frame",
    [
        FRAME / 255,
        FRAME.astype(np.uint16),
        FRAME > 9,
        FRAME[..., 0],
        FRAME[..., :1],
        FRAME.transpose(2, 0, 1),
        FRAME[None],
        FRAME[:0],
        torch.from_numpy(FRAME),
        None,
    ],
)
def test_frames_of_another_kind(make_engine, frame):
    session = make_engine().open("camera")
    with pytest.raises(InputError, match=r"give an array of uint8 RGB \[height, width, 3\]"):
        session.push(frame, 0.0)


@pytest.mark.parametrize("time", [float("nan"), float("inf"), 1_790_000_000.0])
def test_times_that_are_no_seconds_of_the_stream(make_engine, time):
    session = make_engine().open("camera")
    for _ in range(2):
        with pytest.raises(InputError, match="count seconds from the stream's start"):
            session.push(FRAME, time)
    session.push(FRAME, 0.0)


def test_an_array_may_be_used_again(make_engine):
    session = make_engine(fps=1).open("camera")
    buffer = np.zeros_like(FRAME)
    for time in range(4):
        buffer[:] = time
        session.push(buffer, time)
    assert [frame.image.max() for frame in session.recent.until(None)] == [0, 1, 2]


def test_two_sessions_of_one_stream(make_engine):
    engine = make_engine(fps=1, frames_per_clip=2)
    first, second = engine.open("camera"), engine.open("camera", resume=True)
    for time in range(3):
        first.push(FRAME, time)
    with pytest.raises(InputError, match="one session at a time"):
        for time in range(3):
            second.push(FRAME, time)
    assert [caption.start for caption in first.captions] == [0.0]


def test_a_clip_that_failed_is_captioned_by_the_next_frame(make_engine, monkeypatch):
    session = make_engine(fps=1, frames_per_clip=2).open("camera")
    remember = session._store.append

    def fail(*arguments, **options):
        raise OSError("the disk is full")

    session.push(FRAME, 0.0)
    session.push(FRAME, 1.0)
    monkeypatch.setattr(session._store, "append", fail)
    with pytest.raises(OSError):
        session.push(FRAME, 2.0)
    monkeypatch.setattr(session._store, "append", remember)
    told = [*session.push(FRAME, 4.0), session.flush()]
    assert [(clip.index, clip.start, clip.end) for clip in told] == [(0, 0.0, 2.0), (1, 2.0, 4.0), (2, 4.0, 5.0)]


def test_frames_after_a_short_clip_are_all_captioned(make_engine, tmp_path):
    """Flushed, closed, resumed: the stream goes on where the short clip ended."""
    first = make_engine(memory=tmp_path / "captions.db", fps=1, frames_per_clip=4).open("camera")
    for time in range(3):
        first.push(FRAME, time)
    assert first.flush().end == 3.0
    resumed = make_engine(memory=tmp_path / "captions.db", fps=1, frames_per_clip=4).open("camera", resume=True)
    told = [clip for time in range(3, 9) for clip in resumed.push(FRAME, time)]
    assert [(clip.index, clip.start, clip.end) for clip in told] == [(1, 3.0, 7.0)]
