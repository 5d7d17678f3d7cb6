"""Shares of right answers with their Wilson intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

Z = 1.959964  # 95 %


@dataclass(frozen=True)
class Share:
    """`right` of `asked`."""

    right: int
    asked: int

    @staticmethod
    def of(hits: Iterable[bool]) -> Share:
        listed = list(hits)
        return Share(sum(bool(hit) for hit in listed), len(listed))

    @property
    def value(self) -> float:
        return self.right / self.asked if self.asked else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval."""
        if not self.asked:
            return math.nan, math.nan
        n, p = self.asked, self.value
        middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z / (1 + Z * Z / n) * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    def cells(self) -> list[str]:
        """Percent, interval and number, as the tables print them."""
        low, high = self.interval
        return [f"{100 * self.value:.1f}", f"{100 * low:.1f}-{100 * high:.1f}", str(self.asked)]


SHARE_COLUMNS = ("right %", "95 % interval", "asked")
