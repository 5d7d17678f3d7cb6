"""Every table of the study: `python -m benchmarks.quality.study [--model DIR] [--out DIR]`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.quality.make_demo import ASSETS
from rlivs.backbones import load_backbone

from . import controls, improvements, plots, recurrence, retrieval_cells, scoring, sources, tokens_kept
from .footage import digest, film
from .lab import Lab
from .plan import MICRO, REPORTED, Plan
from .tables import Table

RESULTS = Path(__file__).resolve().parents[2] / "results" / "quality"
CACHE = Path(__file__).resolve().parents[3] / "build" / "quality-study"


def study(model: Path, plan: Plan, out: Path, cache: Path) -> dict[str, Table]:
    """Run every experiment and write its tables; the same numbers for the same model, plan and number of threads."""
    backbone = load_backbone(model, device="cpu", attn_implementation="eager")
    footage = film(backbone, REPORTED, plan.streams, plan.clips, plan.side, plan.rate, cache)
    lab = Lab(backbone, plan, footage, cache)
    found: dict[str, Table] = {}
    experiments: list[Callable[[], list[Table]]] = [
        lambda: tokens_kept.tokens_kept(lab),
        lambda: scoring.scoring(lab),
        lambda: sources.sources(lab),
        lambda: recurrence.recurrence(lab, recurrence.runs(lab)),
        lambda: retrieval_cells.retrieval(lab),
        lambda: controls.controls(lab),
        lambda: improvements.improvements(lab),
    ]
    for experiment in experiments:
        began = time.monotonic()
        for table in experiment():
            table.write(out)
            found[table.name] = table
            print(
                f"{table.name}: {len(table.rows)} rows, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True
            )
    plots.draw(out)
    about = {
        "model": digest(backbone.model),
        "seed": REPORTED,
        "streams": plan.streams,
        "clips": len(footage.clips),
        "clips that need the past": sum(t.needs_past for truths in footage.truths for t in truths),
        "clip questions": sum(map(len, lab.asked)),
        "list questions": len(lab.listed),
        "retrieval questions": len(lab.retrieved),
    }
    (out / "about.json").write_text(json.dumps(about, indent=2) + "\n")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=ASSETS / "tiny-onevision", help="checkpoint directory")
    parser.add_argument("--out", type=Path, default=RESULTS, help="directory for tables and plots")
    parser.add_argument("--cache", type=Path, default=CACHE, help="directory for videos and visual tokens")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--micro", action="store_true", help="a few clips only, to see that it runs")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    study(arguments.model, MICRO if arguments.micro else Plan(), arguments.out, arguments.cache)


if __name__ == "__main__":
    main()
