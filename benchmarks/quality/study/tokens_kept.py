"""Tokens kept x way of keeping them: answers from the kept tokens of the clip, and how many of these show a thing."""

from __future__ import annotations

from benchmarks.quality.world.truth import told_frames

from .intervals import SHARE_COLUMNS, Share, difference
from .lab import Lab
from .progress import steps
from .selection import METHODS
from .tables import Table

KINDS = ("colour", "count", "motion", "seen", "shape")


RIVALS = ("uniform", "random", "k-means", "oracle mask", "all")


def tokens_kept(lab: Lab) -> list[Table]:
    table = Table(
        "tokens_kept",
        "Answers from a clip's kept tokens",
        ("kept", "kept %", "method", *SHARE_COLUMNS, "on things %", *(f"{kind} %" for kind in KINDS)),
    )
    scores, total = lab.scores(), lab.footage.tokens.shape[2]
    cells = [(count, method) for count in lab.plan.kept for method in METHODS if count < total]
    hits: dict[tuple[int, str], list[list[bool]]] = {}
    for count, method in steps([*cells, (total, "all")], "tokens kept"):
        visual, columns = lab.keep("attention" if method == "all" else method, count, scores)
        hits[count, method] = lab.hits(visual)
        kinds = lab.by_kind(hits[count, method])
        on_things = lab.on_things(columns)
        by_kind = [f"{100 * kinds[kind].value:.1f}" if kind in kinds else "" for kind in KINDS]
        shown = "" if on_things != on_things else f"{on_things:.1f}"
        share = Share.of(hit for clip in hits[count, method] for hit in clip)
        table.add(count, f"{100 * count / total:.0f}", method, *share.cells(), shown, *by_kind)
    return [table, _differences(lab, hits, total), _cuts(lab, hits, total)]


def _differences(lab: Lab, hits: dict[tuple[int, str], list[list[bool]]], total: int) -> Table:
    """Attention against the others on the same questions."""
    table = Table(
        "tokens_kept_differences",
        "Attention minus another way, points, on the same questions",
        ("kept", "kept %", "attention minus", "points", "95 % interval"),
    )
    for count in lab.plan.kept:
        for rival in RIVALS if count < total else ():
            other = hits[total if rival == "all" else count, rival]
            percent = f"{100 * count / total:.0f}"
            table.add(count, percent, rival, *difference(hits[count, "attention"], other))
    return table


def _cuts(lab: Lab, hits: dict[tuple[int, str], list[list[bool]]], total: int) -> Table:
    """Clips that show one shot, and clips with a cut, of which only the shot shown longest is asked about."""
    table = Table(
        "tokens_kept_cuts",
        "Answers from 6 % of the tokens, by whether the clip has a cut",
        ("clips", "method", *SHARE_COLUMNS, *(f"{kind} %" for kind in KINDS)),
    )
    whole = [bool(told_frames(lab.footage.streams[s], lab.footage.truths[s][c], c).all()) for s, c in lab.clips]
    six = lab.plan.six_percent
    for name, wanted in (("of one shot", True), ("with a cut", False)):
        for count, method in ((six, "attention"), (six, "uniform"), (six, "oracle mask"), (total, "all")):
            mine = [right if one is wanted else [] for one, right in zip(whole, hits[count, method], strict=True)]
            kinds = lab.by_kind(mine)
            by_kind = [f"{100 * kinds[kind].value:.1f}" if kind in kinds else "" for kind in KINDS]
            table.add(name, method, *Share.of(hit for clip in mine for hit in clip).cells(), *by_kind)
    return table
