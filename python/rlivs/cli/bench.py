"""`rlivs bench kernels | pipeline`: the benchmarks of the source tree."""

from __future__ import annotations

import typer

from rlivs.cli import source_tree

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
    raise typer.Exit(source_tree.benchmark(f"{benchmark}.run").main(arguments))
