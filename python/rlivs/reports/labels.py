"""Times of a clip's frames as they are written under them."""

import math
from collections.abc import Sequence

from rlivs.clock import COUNTED, Clock


def frame_labels(times: Sequence[float], clock: Clock = COUNTED) -> list[str]:
    """`Clock.tell_short` of each; with tenths of a second, rounded down, where one of them is no whole second."""
    # The small term keeps 0.3 s, stored as 0.29999.., from reading as 0.2 s.
    tenths = [math.floor(time * 10 + 1e-6) for time in times]
    if all(tenth % 10 == 0 for tenth in tenths):
        return [clock.tell_short(time) for time in times]
    return [f"{clock.tell_short(tenth // 10)}.{tenth % 10}" for tenth in tenths]
