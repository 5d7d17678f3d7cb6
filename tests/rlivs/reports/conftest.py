"""A small stream of moving squares, with scores that fall on them."""

import numpy as np
import pytest

from rlivs.reports import Citation, Report, ReportAnswer, ReportClip


def moving_square(index, *, num_frames=4, side=32, grid=(4, 4), fps=1.0, caption=None, expected=None, **changes):
    """A clip; `changes` replace its fields as they are."""
    rng = np.random.default_rng(index)
    pictures = rng.integers(90, 130, size=(num_frames, side, side, 3), dtype=np.uint8)
    rows, cols = grid
    scores = rng.random((num_frames, rows, cols), dtype=np.float32) * 1e-5
    for frame in range(num_frames):
        left = frame * (side * 3 // 4) // max(1, num_frames - 1)
        pictures[frame, side // 4 : side // 2, left : left + side // 4] = (220, 40, 30)
        scores[frame, rows // 3, min(cols - 1, left * cols // side)] = 1e-3
    start = index * num_frames / fps
    values = {
        "index": index,
        "start": start,
        "end": start + num_frames / fps,
        "caption": caption or f"a red square moves right, number {index}",
        "expected": expected,
        "frames": pictures,
        "times": tuple(start + frame / fps for frame in range(num_frames)),
        "scores": scores.reshape(-1),
        "selected": tuple(np.flatnonzero(scores.reshape(-1) > 1e-4).tolist()),
        "grid": grid,
    }
    return ReportClip(**{**values, **changes})


def cite(*clips):
    return tuple(Citation(clip.start, clip.end, clip.caption, clip.index) for clip in clips)


@pytest.fixture
def make_clip():
    return moving_square


@pytest.fixture
def make_report():
    def make(**changes):
        clips = tuple(
            moving_square(index, expected="a red square moves left" if index == 2 else None) for index in range(6)
        )
        values = {
            "title": "Squares",
            "source": "squares.mp4",
            "model": "tiny-onevision",
            "settings": {"frames a clip": "4"},
            "clips": clips,
            "answers": (
                ReportAnswer(
                    question="What moved?",
                    text="A red square.",
                    at=14.0,
                    citations=cite(clips[0], clips[2]),
                    expected="a red square",
                    latency_s=0.25,
                ),
                ReportAnswer(question="How many?", text="Six.", citations=cite(*clips), expected="seven"),
            ),
            "figures": {"answer latency, median": "0.25 s"},
            "notes": ("Synthetic.",),
        }
        return Report(**{**values, **changes})

    return make
