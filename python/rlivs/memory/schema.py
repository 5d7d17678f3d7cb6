"""The caption memory's file: its tables, how it is created, and how a file is known to be one."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlivs.errors import InputError

APPLICATION_ID = 0x724C6956  # "rLiV", at byte 68 of the file
SCHEMA_VERSION = 1  # at byte 60
BUSY_SECONDS = 30.0

# Of a clip's visual tokens. Memories may have been made without; it is added when one is opened.
_GRIDS = """CREATE TABLE IF NOT EXISTS grids (
    stream_id INTEGER NOT NULL,
    clip INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    columns INTEGER NOT NULL,
    PRIMARY KEY (stream_id, clip)
)"""

# What is read to answer (captions) lies apart from what is large: SQLite reads whole pages.
_TABLES = (
    """CREATE TABLE streams (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        source TEXT NOT NULL,
        settings TEXT NOT NULL,
        embedder_id TEXT,
        dim INTEGER
    )""",
    """CREATE TABLE captions (
        stream_id INTEGER NOT NULL REFERENCES streams,
        clip INTEGER NOT NULL,
        start_time REAL NOT NULL,
        end_time REAL NOT NULL,
        text TEXT NOT NULL,
        num_tokens INTEGER NOT NULL,
        selected BLOB NOT NULL,
        PRIMARY KEY (stream_id, clip)
    )""",
    """CREATE TABLE embeddings (
        stream_id INTEGER NOT NULL,
        clip INTEGER NOT NULL,
        vector BLOB NOT NULL,
        PRIMARY KEY (stream_id, clip)
    )""",
    """CREATE TABLE visual_slots (
        stream_id INTEGER NOT NULL,
        clip INTEGER NOT NULL,
        tokens BLOB NOT NULL,
        PRIMARY KEY (stream_id, clip)
    )""",
    """CREATE TABLE scores (
        stream_id INTEGER NOT NULL,
        clip INTEGER NOT NULL,
        vector BLOB NOT NULL,
        PRIMARY KEY (stream_id, clip)
    )""",
    # clip: the next one when the gap was noted
    """CREATE TABLE gaps (
        stream_id INTEGER NOT NULL,
        number INTEGER NOT NULL,
        clip INTEGER NOT NULL,
        start_time REAL NOT NULL,
        end_time REAL NOT NULL,
        reason TEXT NOT NULL,
        PRIMARY KEY (stream_id, number)
    )""",
    # the Unix time of second 0: of live streams, and where it was given
    """CREATE TABLE epochs (
        stream_id INTEGER PRIMARY KEY,
        unix_time REAL NOT NULL
    )""",
)


@contextmanager
def input_errors(path: Path | str) -> Iterator[None]:
    """Turn SQLite's errors, and those of text that no file can hold, into InputError, one line with the cure."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise InputError(f"{error.object!r} is no UTF-8 text; rename it, or name the stream otherwise") from error
    except sqlite3.ProgrammingError:
        raise  # a mistake of this package
    except sqlite3.DatabaseError as error:
        raise InputError(_cure(path, str(error))) from error


def _cure(path: Path | str, reason: str) -> str:
    if "locked" in reason or "busy" in reason:
        return f"{path} is being written by another process; try again when it has finished"
    if "full" in reason:
        return f"no room is left to write {path}; free some space on its disk"
    if "readonly" in reason or "unable to open" in reason:
        return f"{path} cannot be written ({reason}); choose a file in a directory you may write to"
    if "malformed" in reason or "not a database" in reason:
        return f"{path} is damaged ({reason}); restore a copy, or try: sqlite3 {path} .recover | sqlite3 recovered.db"
    return f"{path} cannot be used ({reason}); restore a copy, or choose another memory file"


def check_place(path: Path) -> None:
    """Raise InputError unless a memory can be read and written, or created, at `path`."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # too long a name, a loop of links, a null byte
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{str(path)!r} cannot be a memory file ({reason}); choose another one") from error
    if path.is_dir():
        raise InputError(f"{path} is a directory; name a memory file in it, such as {path / 'captions.db'}")
    if not path.parent.is_dir():
        raise InputError(f"there is no directory {path.parent}; create it with: mkdir -p {path.parent}")
    # SQLite writes its log beside the file, even to read.
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path.parent} may not be written to; choose a memory file in another directory")
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise InputError(f"{path} may not be read and written; allow it with: chmod u+rw {path}")


def check_file(path: Path) -> None:
    """Raise InputError unless `path` is a caption memory of this version, going by its first 100 bytes and size.

    SQLite is not asked: it would leave its own files beside one that is none of ours.
    """
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or header[:16] != b"SQLite format 3\0":
        raise InputError(f"{path} is not a caption memory (not a database); choose another file")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise InputError(f"{path} is a database of another program, not a caption memory; choose another file")
    _check_version(path, int.from_bytes(header[60:64], "big"))
    pages = int.from_bytes(header[28:32], "big")
    page_size = int.from_bytes(header[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    log = Path(f"{path}-wal")
    # A checkpoint that was interrupted leaves a short file, and the pages it lacks in the log.
    if path.stat().st_size < pages * page_size and not (log.exists() and log.stat().st_size):
        raise InputError(
            f"{path} is cut off: {path.stat().st_size} of {pages * page_size} bytes are there; restore a copy of it"
        )


def _check_version(path: Path, version: int) -> None:
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path} is a caption memory of format {version}, and this version of rlivs reads format "
            f"{SCHEMA_VERSION}; use the version that made it, or another file"
        )


def connect(path: Path | None) -> sqlite3.Connection:
    """A connection to the memory at `path`, which is created if it is not there; None: a new one in RAM.

    WAL, synchronous=FULL: other processes read while one writes, and what was committed survives a crash.
    Raises InputError if there is something else at `path`.
    """
    # Absolute, because SQLite may take a name such as "file:x.db" for an address.
    name = ":memory:" if path is None else str(path.absolute())
    with input_errors(name if path is None else path):
        # Transactions are begun and ended by hand; the store's lock keeps threads apart.
        connection = sqlite3.connect(name, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            _create_tables(connection, path)
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if path is not None and mode != "wal":
                raise InputError(f"{path} lies on a disk without shared memory (a network drive?); choose a local one")
        except BaseException:
            connection.close()
            raise
    return connection


def _create_tables(connection: sqlite3.Connection, path: Path | None) -> None:
    if _pragma(connection, "application_id") == APPLICATION_ID:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'grids'").fetchone() is None:
            connection.execute(_GRIDS)
        return
    # Before WAL is switched on, so that the file itself says what it is even if its log is lost.
    connection.execute("BEGIN IMMEDIATE")
    try:
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if _pragma(connection, "application_id") != APPLICATION_ID:  # another process may have come first
            if tables:
                raise InputError(f"{path} is a database of another program, not a caption memory; choose another file")
            for table in (*_TABLES, _GRIDS):
                connection.execute(table)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
