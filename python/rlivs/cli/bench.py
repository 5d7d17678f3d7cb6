"""`rlivs bench kernels | pipeline`: the benchmarks of the source tree."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import typer

from rlivs.errors import InputError

SOURCE_TREE = Path(__file__).resolve().parents[3]
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
    if (SOURCE_TREE / "benchmarks").is_dir() and str(SOURCE_TREE) not in sys.path:
        sys.path.insert(0, str(SOURCE_TREE))
    try:
        module = importlib.import_module(f"benchmarks.{benchmark}.run")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("benchmarks"):
            raise
        raise InputError(
            "the benchmarks are not installed with the package; in a source checkout, run: "
            f"python -m benchmarks.{benchmark}.run"
        ) from None
    raise typer.Exit(module.main(arguments))
