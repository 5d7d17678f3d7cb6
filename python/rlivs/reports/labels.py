"""Times of a clip's frames as they are written under them."""

import math
from collections.abc import Sequence

from rlivs.times import format_time


def frame_labels(times: Sequence[float]) -> list[str]:
    """`format_time` of each; with tenths of a second, rounded down, where one of them is no whole second."""
    # The small term keeps 0.3 s, stored as 0.29999.., from reading as 0.2 s.
    tenths = [math.floor(time * 10 + 1e-6) for time in times]
    if all(tenth % 10 == 0 for tenth in tenths):
        return [format_time(time) for time in times]
    return [f"{format_time(tenth // 10)}.{tenth % 10}" for tenth in tenths]
