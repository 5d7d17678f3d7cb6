"""The command line: `rlivs demo | caption | watch | serve | ask | memory | heatmap | bench | doctor`."""

from __future__ import annotations

import os
import sys
from typing import Any

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


# The base of what typer raises for options it does not know or cannot read: click's, or its own copy of it.
UsageError: type[Any] = typer.BadParameter.__mro__[1]
INTERRUPTED = 130


def main() -> None:
    """Run a command; a mistake of the user's ends with one line on standard error and exit code 2."""
    try:
        code = app(prog_name="rlivs", standalone_mode=False)
        if code == INTERRUPTED:  # what typer makes of a KeyboardInterrupt
            print("rlivs: stopped; a stream goes on with --resume", file=sys.stderr)
        sys.exit(code)
    except InputError as error:
        print(f"rlivs: error: {error}", file=sys.stderr)
        sys.exit(2)
    except UsageError as error:
        message = " ".join(error.format_message().split()).removesuffix(".")
        if message:  # none where a command was given nothing at all: its help has been shown
            command = error.ctx.command_path if error.ctx else "rlivs"
            print(f"rlivs: error: {message}; see {command} --help", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of our output went away (`rlivs ... | head`): nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
