"""The command line: `rlivs demo | caption | watch | serve | ask | memory | heatmap | bench | doctor`."""

from __future__ import annotations

import os
import sys

import typer

from rlivs.cli.ask import ask
from rlivs.cli.bench import app as bench
from rlivs.cli.caption import caption
from rlivs.cli.demo import demo
from rlivs.cli.doctor import doctor
from rlivs.cli.evaluate import app as evaluate
from rlivs.cli.heatmap import heatmap
from rlivs.cli.memory import app as memory
from rlivs.cli.serve import serve
from rlivs.cli.watch import watch
from rlivs.errors import InputError

app = typer.Typer(
    name="rlivs",
    help="Streaming video question answering with a memory (rLiVS, arXiv 2510.17364).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (demo, caption, watch, serve, ask, heatmap, doctor):
    app.command()(command)
app.add_typer(memory, name="memory")
app.add_typer(evaluate, name="eval")
app.add_typer(bench, name="bench")


def main() -> None:
    """Run a command; a mistake of the user's ends with one line on standard error and exit code 2."""
    try:
        app()
    except InputError as error:
        print(f"rlivs: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("rlivs: stopped; a stream goes on with --resume", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`rlivs ... | head`): nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
