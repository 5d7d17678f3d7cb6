"""What the commands share of talking to a person: progress, JSON lines, quiet libraries."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

messages = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on one line of standard output, at once."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


@contextmanager
def progress(description: str, total: int | None, done: int = 0) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error, silent when that is no terminal; call what it yields at each step."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=messages,
        transient=True,
        # With both on one terminal the captions scroll above the bar; a redirected output is left alone.
        redirect_stdout=sys.stdout.isatty(),
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(description, total=total, completed=done)
        yield lambda: bar.advance(task)


@contextmanager
def working(description: str) -> Iterator[None]:
    """A spinner for a step without a known length, silent when standard error is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    with messages.status(description):
        yield


def quiet_libraries() -> None:
    """Keep the libraries' own bars and hints out of our output; a user's own setting wins."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
