"""Whether a visual token tells where in the picture it comes from, once its neighbours are gone.

In a whole clip a token's place follows from its position in the prompt. Kept tokens are counted through, so how a thing
moves can only be told from them if the tokens themselves hold their place.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.quality.make_demo import ASSETS
from rlivs.backbones import load_backbone

from .footage import Footage, film
from .lab import Lab
from .plan import REPORTED
from .tables import Table

SIDE = 4  # cells across a frame


def place(lab: Lab) -> list[Table]:
    """Of the study's model and of the shipped one, whose tower was never asked for places."""
    table = Table(
        "place",
        "A cell's column and row read from its token alone",
        ("model", "cells", "mean distance, cells", "by always guessing the mean", "right cell %", "read"),
    )
    plan = lab.plan
    shipped = load_backbone(ASSETS / "tiny-onevision", device="cpu")
    other = film(shipped, REPORTED, plan.streams, plan.clips, plan.side, plan.rate, lab.cache)
    for model, footage in (("the study's", lab.footage), ("shipped", other)):
        for row in read_places(footage):
            table.add(model, *row)
    return [table]


def read_places(footage: Footage) -> list[tuple[str, str, str, float, int]]:
    """Linear maps from a token to its cell's column and row, fitted on even streams, read on odd ones."""
    rows = []
    cell = torch.arange(footage.tokens.shape[2]) % (SIDE * SIDE)
    target = torch.stack([cell % SIDE, cell // SIDE], -1).double().expand(*footage.tokens.shape[:3], 2)
    shows = torch.from_numpy(footage.on_thing)
    for name, where in (("with a thing", shows), ("without one", ~shows)):
        (fit_x, fit_y), (x, y) = (
            (footage.tokens[part][where[part]].double(), target[part][where[part]])
            for part in (slice(0, None, 2), slice(1, None, 2))
        )
        guess = _with_one(x) @ torch.linalg.lstsq(_with_one(fit_x), fit_y, driver="gelsd").solution
        right = (guess.round() == y).all(1).double().mean()
        distance = (guess - y).norm(dim=1).mean()
        mean = (fit_y.mean(0) - y).norm(dim=1).mean()
        rows.append((name, f"{distance:.2f}", f"{mean:.2f}", 100 * float(right), len(y)))
    return rows


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
