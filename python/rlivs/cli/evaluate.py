"""`rlivs eval`: how good the answers are, on data whose truth is known."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer

from rlivs.cli import options, source_tree
from rlivs.cli.terminal import messages, print_json, quiet_libraries

app = typer.Typer(help="Measure the quality of captions, selection and answers.", no_args_is_help=True)


@app.callback()
def evaluate() -> None:
    """Measure the quality of captions, selection and answers."""


@app.command()
def synthetic(
    model: Annotated[
        str | None,
        typer.Option("--model", help="Checkpoint directory, or tiny-onevision; default: the study's own checkpoint."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Directory for tables and plots.")] = Path("rlivs-quality"),
    micro: Annotated[bool, typer.Option("--micro", help="A few clips only, to see that it runs.")] = False,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads.")] = 1,
    json: options.Json = False,
) -> None:
    """Run the quality study on synthetic streams: every table as CSV, Markdown and plots.

    Needs a source checkout: the synthetic world is not part of the installed package.
    """
    quiet_libraries()
    whole = source_tree.benchmark("quality.study.__main__")
    plans = source_tree.benchmark("quality.study.plan")
    import torch

    from rlivs.backbones.checkpoint import EMBEDDED, embedded_checkpoint

    torch.set_num_threads(threads)
    directory = whole.MODEL if model is None else embedded_checkpoint() if model == EMBEDDED else Path(model)
    whole.study(directory, plans.MICRO if micro else plans.Plan(), out, out / "cache")
    for file in sorted(out.glob("*.csv")):
        with file.open(newline="", encoding="utf-8") as rows:
            for row in csv.DictReader(rows):
                if json:
                    print_json({"table": file.stem, **row})
    if not json:
        messages.print(f"tables and plots in {out}")
