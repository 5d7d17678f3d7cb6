"""Where a command is to write, looked at before any work is done."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rlivs.errors import InputError


def make_folder(folder: Path) -> None:
    """Make `folder` where it is missing. Raises InputError where nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"cannot write into a folder {folder}: {error.strerror}; give a writable path") from None


def check_file(file: Path) -> None:
    """Raises InputError where `file` cannot be written, or its folder is missing; what it holds stays as it is."""
    try:
        if not file.exists():
            tempfile.TemporaryFile(dir=file.parent).close()
        elif not file.is_fifo():  # opening one would wait for its reader
            file.open("ab").close()
    except OSError as error:
        raise InputError(
            f"cannot write {file}: {error.strerror}; give a writable path in a folder that exists"
        ) from None
