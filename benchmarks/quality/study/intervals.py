"""Shares of right answers with their Wilson intervals, and paired differences with bootstrapped ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

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
DRAWS = 4000


def difference(first: Sequence[Sequence[bool]], second: Sequence[Sequence[bool]]) -> list[str]:
    """Points by which `first` is ahead of `second`, and the 95 % interval, as the tables print them.

    Both are hits of the same questions, clip by clip. Clips are drawn with replacement, each with all its questions,
    so what both ways find easy or hard does not widen the interval, and questions about one clip count as related.
    """
    asked = np.array([len(hits) for hits in first])
    gained = np.array([sum(a) - sum(b) for a, b in zip(first, second, strict=True)])
    if not asked.sum():
        return ["nan", "nan"]
    drawn = np.random.default_rng(5).integers(0, len(asked), (DRAWS, len(asked)))
    points = 100 * gained[drawn].sum(1) / np.maximum(1, asked[drawn].sum(1))
    low, high = np.quantile(points, (0.025, 0.975))
    return [f"{100 * gained.sum() / asked.sum():+.1f}", f"{low:+.1f} to {high:+.1f}"]
