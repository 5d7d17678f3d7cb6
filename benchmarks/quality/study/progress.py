"""A progress bar on standard error that is off when that is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def steps(items: Sequence[Item], description: str) -> Iterator[Item]:
    """The items, one step of the bar each."""
    console = Console(stderr=True)
    yield from track(items, description, console=console, transient=True, disable=not sys.stderr.isatty())
