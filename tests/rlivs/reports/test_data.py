from dataclasses import replace

import numpy as np
import pytest

from rlivs.errors import InputError
from rlivs.reports import Report


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": np.zeros((4, 32, 32, 3), np.float32)}, "uint8"),
        ({"frames": np.zeros((4, 32, 32), np.uint8)}, r"\[n, H, W, 3\]"),
        ({"times": (0.0, 1.0)}, "4 frames need 4 times, not 2"),
        ({"scores": np.zeros(63, np.float32)}, "4 frames of 4x4 tokens need 64 scores"),
        ({"scores": np.zeros((4, 16), np.float32)}, "need 64 scores"),
        ({"selected": (64,)}, r"0\.\.63"),
        ({"selected": (-1,)}, r"0\.\.63"),
    ],
)
def test_a_clip_whose_parts_do_not_fit_is_refused_by_name(make_clip, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        make_clip(3, **changes)
    assert str(caught.value).startswith("clip 3: ")
    assert "\n" not in str(caught.value)


def test_a_clip_may_come_without_pictures(make_clip):
    clip = make_clip(0, frames=np.zeros((0, 0, 0, 3), np.uint8))
    assert clip.selected == make_clip(0).selected


def test_clips_of_a_report_have_distinct_indices(make_clip):
    with pytest.raises(InputError, match="distinct indices"):
        Report(title="", source="", model="", clips=(make_clip(1), make_clip(1)))


def test_a_grid_without_cells_is_refused(make_clip):
    with pytest.raises(InputError, match="at least"):
        replace(make_clip(0), grid=(0, 4))
