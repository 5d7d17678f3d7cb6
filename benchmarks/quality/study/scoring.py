"""How scores are made: layers, heads, which rows, which columns, which mode of the tap."""

from __future__ import annotations

import numpy as np

from .intervals import SHARE_COLUMNS
from .lab import Lab
from .recurrent import Policy, caption_streams
from .tables import Table


def scoring(lab: Lab) -> list[Table]:
    """At 6 % of the tokens; every row but the modes' is computed from one run's attention."""
    table = Table("scoring", "How scores are made (6 % kept)", ("scores", *SHARE_COLUMNS, "on things %"))
    every = tuple(range(lab.depth))
    auto = f"automatic layers {list(lab.auto_layers)}"
    cells: list[tuple[str, np.ndarray]] = [
        *((f"layer {layer} alone", lab.scores([layer])) for layer in every),
        (f"{auto}, heads mean, producing rows", lab.scores()),
        ("all layers, heads mean, producing rows", lab.scores(every)),
        (f"{auto}, heads max", lab.scores(heads="max")),
        (f"{auto}, the tokens' own rows", lab.scores(convention=1)),
        (f"{auto}, columns shifted by one", lab.scores(shift=1)),
    ]
    for layer in every[-2:]:
        cells.append((f"layer {layer} alone, columns shifted by one", lab.scores([layer], shift=1)))
    for name, scores in cells:
        visual, columns = lab.keep("attention", lab.plan.six_percent, scores)
        share = lab.ask_clips(visual)
        table.add(name, *share.cells(), lab.on_things(columns))
    return [table, modes(lab)]


def modes(lab: Lab) -> Table:
    """The same pipeline under the tap's three modes: how many captions and kept tokens are the same."""
    table = Table(
        "modes",
        "The tap's modes against `deferred`, over whole runs",
        ("mode", "captions the same %", "kept tokens the same %", "largest difference of a score"),
    )
    footage = lab.footage.first(lab.plan.mode_streams)
    first = caption_streams(lab.backbone, footage, Policy())
    for mode in ("fused", "rescore"):
        other = caption_streams(lab.backbone, footage, Policy(mode=mode))
        same = np.mean([first.captions[s][c] == other.captions[s][c] for s, c in footage.clips])
        kept = np.mean([np.isin(first.kept[s][c], other.kept[s][c]).mean() for s, c in footage.clips])
        far = float(np.abs(first.scores - other.scores).max())
        table.add(mode, 100 * float(same), 100 * float(kept), f"{far:.1e}")
    return table
