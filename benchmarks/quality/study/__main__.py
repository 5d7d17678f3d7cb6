"""Every table of the study: `python -m benchmarks.quality.study [--model DIR] [--out DIR]`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from rlivs.backbones import load_backbone

from . import controls, improvements, place, plots, recurrence, retrieval_cells, scoring, sources, tokens_kept
from .footage import digest, film
from .lab import Lab
from .plan import MICRO, REPORTED, Plan
from .tables import Table

MODEL = Path(__file__).resolve().parents[1] / "second-world"
RESULTS = Path(__file__).resolve().parents[2] / "results" / "quality"
CACHE = Path(__file__).resolve().parents[3] / "build" / "quality-study"


def study(model: Path, plan: Plan, out: Path, cache: Path, only: Sequence[str] = ()) -> dict[str, Table]:
    """Run every experiment, or `only` those named, and write its tables.

    The numbers are the same for the same model, plan and number of threads.
    """
    backbone = load_backbone(model, device="cpu", attn_implementation="eager")
    footage = film(backbone, REPORTED, plan.streams, plan.clips, plan.side, plan.rate, cache)
    lab = Lab(backbone, plan, footage, cache)
    found: dict[str, Table] = {}
    experiments: dict[str, Callable[[], list[Table]]] = {
        "tokens-kept": lambda: tokens_kept.tokens_kept(lab),
        "place": lambda: place.place(lab),
        "scoring": lambda: scoring.scoring(lab),
        "sources": lambda: sources.sources(lab),
        "controls": lambda: controls.controls(lab),
        "improvements": lambda: improvements.improvements(lab),
        "recurrence": lambda: recurrence.recurrence(lab),
        "list-answers": lambda: recurrence.list_answers(lab),
        "retrieval": lambda: retrieval_cells.retrieval(lab),
    }
    for name in only or experiments:
        began = time.monotonic()
        for table in experiments[name]():
            table.write(out)
            found[table.name] = table
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
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
    parser.add_argument("--model", type=Path, default=MODEL, help="checkpoint directory")
    parser.add_argument("--out", type=Path, default=RESULTS, help="directory for tables and plots")
    parser.add_argument("--cache", type=Path, default=CACHE, help="directory for videos and visual tokens")
    parser.add_argument("--only", nargs="+", default=(), metavar="EXPERIMENT", help="these experiments only")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--micro", action="store_true", help="a few clips only, to see that it runs")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    study(arguments.model, MICRO if arguments.micro else Plan(), arguments.out, arguments.cache, arguments.only)


if __name__ == "__main__":
    main()
