"""`rlivs bench kernels | pipeline`: the benchmarks of the source tree."""

from __future__ import annotations

import argparse
from pathlib import Path

import typer

from rlivs.cli import source_tree
from rlivs.cli.outputs import check_file, make_folder

# Everything behind the benchmark's name is its own, --help too.
_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(help="Run a benchmark of the source tree; its options are passed on.", no_args_is_help=True)


@app.command(add_help_option=False, context_settings=_PASSED_ON)
def kernels(context: typer.Context) -> None:
    """Single operations, beside their peers."""
    _run("kernels", context.args)


@app.command(add_help_option=False, context_settings=_PASSED_ON)
def pipeline(context: typer.Context) -> None:
    """Whole clips and questions, at full size."""
    _run("pipeline", context.args)


def _run(benchmark: str, arguments: list[str]) -> None:
    run = source_tree.benchmark(f"{benchmark}.run")
    _check_out(arguments)
    raise typer.Exit(run.main(arguments))


def _check_out(arguments: list[str]) -> None:
    """The benchmarks' own option --out, looked at before they measure anything."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--out", type=Path, nargs="?")
    out = parser.parse_known_args(arguments)[0].out
    if out is not None:
        make_folder(out.parent)
        check_file(out)
