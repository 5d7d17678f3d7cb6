"""Tokens kept x way of keeping them: answers from the kept tokens of the clip, and how many of these show a thing."""

from __future__ import annotations

from .intervals import SHARE_COLUMNS
from .lab import Lab
from .progress import steps
from .selection import METHODS
from .tables import Table

KINDS = ("colour", "count", "motion", "seen", "shape")


def tokens_kept(lab: Lab) -> list[Table]:
    table = Table(
        "tokens_kept",
        "Answers from a clip's kept tokens",
        ("kept", "kept %", "method", *SHARE_COLUMNS, "on things %", *(f"{kind} %" for kind in KINDS)),
    )
    scores = lab.scores()
    cells = [(count, method) for count in lab.plan.kept for method in METHODS]
    for count, method in steps(cells, "tokens kept"):
        if count == lab.footage.tokens.shape[2]:
            if method != METHODS[0]:
                continue
            method = "all"
        visual, columns = lab.keep("attention" if method == "all" else method, count, scores)
        share, kinds = lab.ask_clips(visual)
        percent = 100 * count / lab.footage.tokens.shape[2]
        on_things = lab.on_things(columns)
        by_kind = [f"{100 * kinds[kind].value:.1f}" if kind in kinds else "" for kind in KINDS]
        shown = "" if on_things != on_things else f"{on_things:.1f}"
        table.add(count, f"{percent:.0f}", method, *share.cells(), shown, *by_kind)
    return [table]
