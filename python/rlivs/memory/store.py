"""The caption store: one SQLite file, many streams, one transaction a clip."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any

import numpy as np

from rlivs.clock import Clock
from rlivs.errors import InputError
from rlivs.memory.embedding_matrix import EmbeddingMatrix
from rlivs.memory.schema import check_file, check_place, connect, input_errors
from rlivs.memory.stream_log import LogEntry, StoredGap, merged

_GAP = "number, clip, start_time, end_time, reason"
_CAPTION = "clip, start_time, end_time, text, num_tokens"
# Rows that are read at once, of a stream that may have hundreds of thousands.
PAGE = 1000
# No clip has as many visual tokens; text in the place of their numbers reads as more.
MOST_COLUMNS = 1 << 24


@dataclass(frozen=True)
class Caption:
    """One clip's caption. start, end: seconds of the stream; index: of the clip.

    num_tokens: the language model's tokens that `text` takes in a prompt; selected: the columns kept of the clip's
    visual tokens, ascending. `CaptionStore.recall`, and so an answer's citations, leave `selected` empty.
    """

    stream: str
    index: int
    start: float
    end: float
    text: str
    num_tokens: int
    selected: tuple[int, ...]


@dataclass(frozen=True)
class StreamInfo:
    """A stream's name, what it watches, and the settings it was created with.

    embedder_id and dim are those of its first caption's embedding; None before it.
    """

    stream: str
    source: str
    settings: dict[str, Any]
    embedder_id: str | None
    dim: int | None


class CaptionStore:
    """Captions, their embeddings and the newest visual slots of many streams, in one SQLite file.

    What `append` has returned from survives a crash of the process or the machine; other processes may read
    meanwhile. A store may be used from several threads. Every method raises InputError where the file cannot be
    read or written, and for a stream it does not know.
    """

    def __init__(self, path: Path | None) -> None:
        """Use `CaptionStore.open`."""
        self._path = path
        self._lock = RLock()
        self._closed = False
        self._matrices: dict[str, EmbeddingMatrix[Caption]] = {}
        self._connection = connect(None) if path is None else None
        self._opened: tuple[Path, tuple[int, int] | None] | None = None
        self._connect_if_there()

    @classmethod
    def open(cls, path: str | PathLike[str], *, create: bool = True) -> CaptionStore:
        """Open the memory at `path`, or a new one in RAM for ":memory:".

        With `create` the file need not exist; it is created with the first stream, so that a command that fails
        before leaves nothing behind. Raises InputError for a file that is missing (without `create`), no caption
        memory, of another version, or damaged; none of these is touched.
        """
        if path == ":memory:":
            return cls(None)
        place = Path(path)
        check_place(place)
        if not create and not _has_content(place):
            raise InputError(
                f"there is no caption memory at {place}; caption a video first: rlivs caption VIDEO --memory {place}"
            )
        store = cls(place)
        try:
            store.streams()  # a file that is damaged shows it here, before any work is done
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close the file. Closing twice is harmless."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __enter__(self) -> CaptionStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def create_stream(self, stream: str, *, source: str, settings: dict[str, Any], epoch: float | None = None) -> None:
        """Add a stream. `settings` must be JSON values; epoch: the Unix time of its second 0, where that is known.

        Raises InputError if the name is empty or taken.
        """
        if not stream.strip():
            raise InputError("a stream's name cannot be empty; give it one, such as camera-1")
        text = json.dumps(settings)
        with self._writing() as connection:
            if connection.execute("SELECT 1 FROM streams WHERE name = ?", (stream,)).fetchone():
                raise InputError(
                    f"the memory already has a stream '{stream}'; "
                    "resume it (--resume, resume=True), or choose another name"
                )
            connection.execute("INSERT INTO streams (name, source, settings) VALUES (?, ?, ?)", (stream, source, text))
            if epoch is not None:
                connection.execute("INSERT INTO epochs VALUES (?, ?)", (self._id(connection, stream), epoch))

    def streams(self) -> list[StreamInfo]:
        """Every stream, in the order they were created."""
        rows = self._rows("SELECT name, source, settings, embedder_id, dim FROM streams ORDER BY id")
        found = []
        for name, source, text, embedder, dim in rows:
            with self._decoding(name):
                found.append(StreamInfo(name, source, _settings(text), embedder, dim))
        return found

    def stream(self, stream: str) -> StreamInfo:
        """What is known of one stream. Raises InputError, naming the known ones, if there is none of that name."""
        streams = self.streams()
        for info in streams:
            if info.stream == stream:
                return info
        raise _unknown(stream, [info.stream for info in streams])

    def append(
        self,
        caption: Caption,
        *,
        embedding: np.ndarray,
        embedder_id: str,
        visual: bytes | None,
        keep_visual: int = 16,
        scores: np.ndarray | None = None,
        grid: tuple[int, int, int] | None = None,
    ) -> None:
        """Add the next clip's caption with all that belongs to it, in one transaction.

        embedding: `[dim]` float32; visual: `VisualMemory.to_bytes` of the tokens kept, of which the newest
        `keep_visual` slots stay; scores: `[n]` float32, one a visual token of the clip; grid: steps, rows and columns
        of these tokens. Raises InputError if the clip is not the one after the last, and for an embedding from another
        embedder than the stream's others (vectors of different embedders cannot be compared) or with values that are
        not finite.
        """
        vector = np.asarray(embedding, np.float32)
        if vector.ndim != 1 or not np.isfinite(vector).all():
            raise InputError(
                f"the embedding of clip {caption.index} is no vector of finite numbers; "
                "load the model in float32 or bfloat16"
            )
        if not (math.isfinite(caption.start) and math.isfinite(caption.end) and caption.start <= caption.end):
            raise InputError(
                f"clip {caption.index} would last from {caption.start} to {caption.end} s; end must follow start"
            )
        if keep_visual < 0:
            raise InputError(f"keep_visual is {keep_visual}; give 0 or more")
        with self._writing() as connection:
            stream_id = self._check_next(connection, caption, embedder_id, len(vector))
            key = (stream_id, caption.index)
            connection.execute(
                "INSERT INTO captions VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*key, caption.start, caption.end, caption.text, caption.num_tokens, _packed(caption.selected, "<i4")),
            )
            connection.execute("INSERT INTO embeddings VALUES (?, ?, ?)", (*key, _packed(vector, "<f4")))
            if scores is not None:
                connection.execute("INSERT INTO scores VALUES (?, ?, ?)", (*key, _packed(scores, "<f4")))
            if grid is not None:
                connection.execute("INSERT INTO grids VALUES (?, ?, ?, ?, ?)", (*key, *grid))
            if visual is not None:
                connection.execute("INSERT INTO visual_slots VALUES (?, ?, ?)", (*key, visual))
            connection.execute(
                "DELETE FROM visual_slots WHERE stream_id = ? AND clip NOT IN "
                "(SELECT clip FROM visual_slots WHERE stream_id = ? ORDER BY clip DESC LIMIT ?)",
                (stream_id, stream_id, keep_visual),
            )

    def last_index(self, stream: str) -> int:
        """The index of the newest caption; -1 if there is none."""
        ((last,),) = self._of_stream(stream, "SELECT coalesce(max(clip), -1) FROM captions WHERE stream_id = ?")
        return last

    def last_end(self, stream: str) -> float:
        """Where the newest caption or gap ends, in seconds of the stream; 0 if there is none."""
        ends = [
            self._of_stream(stream, f"SELECT coalesce(max(end_time), 0) FROM {table} WHERE stream_id = ?")[0][0]
            for table in ("captions", "gaps")
        ]
        return max(ends)

    def extent(self, stream: str) -> tuple[int, float, float]:
        """How many captions there are, and where the first begins and the last ends, in seconds; 0 where none is."""
        rows = "FROM captions WHERE stream_id = ?1"
        query = (
            f"SELECT (SELECT count(*) {rows}), (SELECT start_time {rows} ORDER BY clip LIMIT 1), "
            f"(SELECT end_time {rows} ORDER BY clip DESC LIMIT 1)"
        )
        ((count, start, end),) = self._of_stream(stream, query)
        return (count, start, end) if count else (0, 0.0, 0.0)

    def has_captions(self, stream: str, ended_by: float | None = None) -> bool:
        """Whether `captions(stream, ended_by)` holds any."""
        query = "SELECT EXISTS (SELECT 1 FROM captions WHERE stream_id = ? AND end_time <= ?)"
        ((found,),) = self._of_stream(stream, query, math.inf if ended_by is None else ended_by)
        return bool(found)

    def captions(self, stream: str, ended_by: float | None = None) -> list[Caption]:
        """The captions that ended at `ended_by` seconds or before (None: all), in order of clips."""
        return self._captions(stream, "end_time <= ? ORDER BY clip", math.inf if ended_by is None else ended_by)

    def _captions(self, stream: str, condition: str, *values: float) -> list[Caption]:
        rows = self._of_stream(
            stream, f"SELECT selected, {_CAPTION} FROM captions WHERE stream_id = ? AND {condition}", *values
        )
        with self._decoding(stream):
            return [_caption(stream, row, _kept(selected)) for selected, *row in rows]

    def embeddings(self, stream: str, ended_by: float | None = None) -> np.ndarray:
        """The embeddings `[n, dim]` float32 of `captions(stream, ended_by)`, row by row; read-only."""
        return self.recall(stream, ended_by)[1]

    def recall(self, stream: str, ended_by: float | None = None) -> tuple[list[Caption], np.ndarray]:
        """`captions`, their `selected` left empty, and `embeddings` of one moment, row by row the same.

        Both stay in memory: only those added since the last call are read from the file.
        """
        with self._lock:
            dim = self.stream(stream).dim
            if dim is None:
                return [], np.empty((0, 0), np.float32)
            with self._decoding(stream):
                matrix = self._matrices.setdefault(stream, EmbeddingMatrix(dim))
            matrix.forget_before(self._first_index(stream))
            while self._read_page(stream, matrix):
                pass
            return matrix.ended_by(ended_by)

    def _read_page(self, stream: str, matrix: EmbeddingMatrix[Caption]) -> bool:
        """Append captions that the matrix has not; whether there may be more."""
        rows = self._of_stream(
            stream,
            f"SELECT vector, {_CAPTION} FROM captions JOIN embeddings USING (stream_id, clip) "
            "WHERE stream_id = ? AND clip >= ? ORDER BY clip LIMIT ?",
            matrix.next_clip,
            PAGE,
        )
        with self._decoding(stream):
            for vector, *row in rows:
                caption = _caption(stream, row, ())
                matrix.append(caption.index, vector, caption.end, caption)
        return len(rows) == PAGE

    def visual_slots(self, stream: str) -> list[bytes]:
        """The visual slots kept, oldest first."""
        return [
            tokens
            for (tokens,) in self._of_stream(
                stream, "SELECT tokens FROM visual_slots WHERE stream_id = ? ORDER BY clip"
            )
        ]

    def scores(self, stream: str, index: int) -> np.ndarray | None:
        """The scores `[n]` float32 of clip `index`; None if there are none."""
        rows = self._of_stream(stream, "SELECT vector FROM scores WHERE stream_id = ? AND clip = ?", index)
        with self._decoding(stream):
            return np.frombuffer(rows[0][0], "<f4").astype(np.float32) if rows else None

    def grid(self, stream: str, index: int) -> tuple[int, int, int] | None:
        """Steps, rows and columns of the visual tokens of clip `index`; None if they were not kept."""
        rows = self._of_stream(stream, "SELECT steps, rows, columns FROM grids WHERE stream_id = ? AND clip = ?", index)
        return rows[0] if rows else None

    def add_gap(self, stream: str, start: float, end: float, reason: str) -> StoredGap:
        """Note that the stream had no pictures from `start` to `end` (seconds), before the clip that comes next."""
        if not (math.isfinite(start) and math.isfinite(end) and start <= end):
            raise InputError(f"a gap would last from {start} to {end} s; end must follow start")
        with self._writing() as connection:
            stream_id = self._id(connection, stream)
            number = _one(connection, "SELECT coalesce(max(number), -1) + 1 FROM gaps WHERE stream_id = ?", stream_id)
            clip = _one(connection, "SELECT coalesce(max(clip), -1) + 1 FROM captions WHERE stream_id = ?", stream_id)
            gap = StoredGap(number, clip, start, end, reason)
            connection.execute(
                "INSERT INTO gaps VALUES (?, ?, ?, ?, ?, ?)", (stream_id, number, clip, start, end, reason)
            )
        return gap

    def gaps(self, stream: str) -> list[StoredGap]:
        """The gaps of a stream, in the order they were noted."""
        rows = self._of_stream(stream, f"SELECT {_GAP} FROM gaps WHERE stream_id = ? ORDER BY number")
        return [StoredGap(*row) for row in rows]

    def log(self, stream: str, after: int = -1, limit: int = -1) -> list[LogEntry[Caption | StoredGap]]:
        """Captions and gaps with a serial number above `after`, in the order they were committed; -1: without limit."""
        with self._lock:
            rows = self._of_stream(
                stream,
                f"SELECT {_GAP} FROM gaps WHERE stream_id = ? AND clip + number > ? ORDER BY number LIMIT ?",
                after,
                limit,
            )
            gaps = [StoredGap(*row) for row in rows]
            if gaps:
                gaps_before = gaps[0].number
            else:
                query = "SELECT coalesce(max(number), -1) + 1 FROM gaps WHERE stream_id = ?"
                ((gaps_before,),) = self._of_stream(stream, query)
            captions = self._captions(stream, "clip >= ? ORDER BY clip LIMIT ?", after + 1 - gaps_before, limit)
            entries = merged(captions, captions[0].index if captions else 0, gaps, gaps_before)
            return entries if limit < 0 else entries[:limit]

    def entries(self, stream: str) -> Iterator[LogEntry[Caption | StoredGap]]:
        """`log`, read page by page: a long stream does not fit into memory at once."""
        after = -1
        while page := self.log(stream, after, PAGE):
            yield from page
            after = page[-1].serial

    def set_epoch(self, stream: str, unix_time: float) -> None:
        """Note that second 0 of a stream was at `unix_time`."""
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?)", (self._id(connection, stream), unix_time))

    def epoch(self, stream: str) -> float | None:
        """The Unix time of a stream's second 0; None where it was not noted."""
        rows = self._of_stream(stream, "SELECT unix_time FROM epochs WHERE stream_id = ?")
        return rows[0][0] if rows else None

    def count_moments(self, stream: str) -> None:
        """The moments of a stream that was to be told by the clock are counted from now on: it has none."""
        settings = self.stream(stream).settings
        settings.pop("clock", None)
        with self._writing() as connection:
            stream_id = self._id(connection, stream)
            connection.execute("UPDATE streams SET settings = ? WHERE id = ?", (json.dumps(settings), stream_id))

    def clock(self, stream: str) -> Clock:
        """How the moments of a stream are told: by the wall clock if it was made so and its second 0 is known."""
        return Clock(self.epoch(stream) if self.stream(stream).settings.get("clock") else None)

    def prune(self, stream: str, *, keep_last: int | None = None, ended_before: float | None = None) -> int:
        """Delete old captions with all that belongs to them; returns how many.

        Those go that are not among the newest `keep_last`, and those that ended before `ended_before` seconds. The
        newest caption always stays, and so does the visual memory: the stream can be continued as if nothing was
        deleted. Gaps before the captions that stay are deleted too.
        """
        if keep_last is not None and keep_last < 1:
            raise InputError(f"cannot keep the last {keep_last} captions; keep at least 1")
        with self._writing() as connection:
            stream_id = self._id(connection, stream)
            last = _one(connection, "SELECT max(clip) FROM captions WHERE stream_id = ?", stream_id)
            if last is None:
                return 0
            first = 0 if keep_last is None else last + 1 - keep_last
            if ended_before is not None:
                query = "SELECT coalesce(max(clip), -1) + 1 FROM captions WHERE stream_id = ? AND end_time < ?"
                first = max(first, _one(connection, query, stream_id, ended_before))
            first = min(first, last)
            count = connection.execute(
                "DELETE FROM captions WHERE stream_id = ? AND clip < ?", (stream_id, first)
            ).rowcount
            for table in ("embeddings", "scores", "grids"):
                connection.execute(f"DELETE FROM {table} WHERE stream_id = ? AND clip < ?", (stream_id, first))
            # The newest gap stays: serial numbers are counted from it.
            connection.execute(
                "DELETE FROM gaps WHERE stream_id = ? AND clip <= ? "
                "AND number < (SELECT max(number) FROM gaps WHERE stream_id = ?)",
                (stream_id, first, stream_id),
            )
        return count

    def delete_stream(self, stream: str) -> int:
        """Delete a stream with all that belongs to it; returns how many captions it had."""
        with self._writing() as connection:
            stream_id = self._id(connection, stream)
            count = connection.execute("DELETE FROM captions WHERE stream_id = ?", (stream_id,)).rowcount
            for table in ("embeddings", "scores", "grids", "visual_slots", "gaps", "epochs"):
                connection.execute(f"DELETE FROM {table} WHERE stream_id = ?", (stream_id,))
            connection.execute("DELETE FROM streams WHERE id = ?", (stream_id,))
            self._matrices.pop(stream, None)
        return count

    def compact(self) -> None:
        """Give the room of what was deleted back to the disk. Takes as long as copying the file."""
        with self._lock, input_errors(self._name):
            self._connect_if_there()
            if self._connection is not None:
                self._connection.execute("VACUUM")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _first_index(self, stream: str) -> int:
        ((first,),) = self._of_stream(stream, "SELECT coalesce(min(clip), 0) FROM captions WHERE stream_id = ?")
        return first

    def _id(self, connection: sqlite3.Connection, stream: str) -> int:
        row = connection.execute("SELECT id FROM streams WHERE name = ?", (stream,)).fetchone()
        if row is None:
            raise _unknown(stream, [name for (name,) in connection.execute("SELECT name FROM streams ORDER BY id")])
        return row[0]

    def _check_next(self, connection: sqlite3.Connection, caption: Caption, embedder_id: str, dim: int) -> int:
        """The id of the caption's stream, whose embedder is now `embedder_id`."""
        row = connection.execute(
            "SELECT id, embedder_id, dim FROM streams WHERE name = ?", (caption.stream,)
        ).fetchone()
        if row is None:
            names = [name for (name,) in connection.execute("SELECT name FROM streams ORDER BY id")]
            raise _unknown(caption.stream, names)
        stream_id, known_id, known_dim = row
        if known_id is None:
            connection.execute(
                "UPDATE streams SET embedder_id = ?, dim = ? WHERE id = ?", (embedder_id, dim, stream_id)
            )
        elif (known_id, known_dim) != (embedder_id, dim):
            raise InputError(
                f"stream '{caption.stream}' holds embeddings of {known_id} ({known_dim} numbers), not of {embedder_id} "
                f"({dim}); use the same model and embedder, or start another stream"
            )
        expected = connection.execute(
            "SELECT coalesce(max(clip), -1) + 1 FROM captions WHERE stream_id = ?", (stream_id,)
        ).fetchone()[0]
        if caption.index != expected:
            raise InputError(
                f"stream '{caption.stream}' expects clip {expected}, not clip {caption.index}; resume it from there"
            )
        return stream_id

    def _of_stream(self, stream: str, query: str, *values: Any) -> list[tuple]:
        """The rows of `query`, whose first placeholder is the stream's id."""
        with self._lock:
            found = self._rows("SELECT id FROM streams WHERE name = ?", stream)
            if not found:
                raise _unknown(stream, [name for (name,) in self._rows("SELECT name FROM streams ORDER BY id")])
            return self._rows(query, found[0][0], *values)

    @contextmanager
    def _decoding(self, stream: str) -> Iterator[None]:
        """Turn what is raised for a cell that holds something else than was written into InputError, with the cure."""
        try:
            yield
        except (TypeError, ValueError) as error:
            raise InputError(f"{self._name} is damaged in stream '{stream}' ({error}); restore a copy of it") from error

    def _rows(self, query: str, *values: Any) -> list[tuple]:
        with self._lock, input_errors(self._name):
            self._connect_if_there()
            return [] if self._connection is None else self._connection.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or, after any error, nothing."""
        with self._lock, input_errors(self._name):
            self._connect_if_there()
            if self._connection is None:
                self._connection = self._connected()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite has rolled back by itself when the disk is full
                    self._connection.execute("ROLLBACK")
                raise

    def _connect_if_there(self) -> None:
        """Connect once the file is there: it may be created by another process after this store was opened."""
        if self._closed:
            raise ValueError("the caption store is closed; open it again")
        if self._opened is not None:
            place, identity = self._opened
            if _identity(place) != identity:  # what is written would be lost, or in the log of another file
                raise InputError(f"{self._path} was deleted or replaced while it was open; open the memory again")
        if self._connection is None and self._path is not None and _has_content(self._path):
            check_file(self._path)
            self._connection = self._connected()

    def _connected(self) -> sqlite3.Connection:
        connection = connect(self._path)
        if self._path is not None:
            place = self._path.absolute()
            self._opened = place, _identity(place)
        return connection

    @property
    def _name(self) -> str:
        return ":memory:" if self._path is None else str(self._path)


def _settings(text: str) -> dict[str, Any]:
    settings = json.loads(text)
    if not isinstance(settings, dict):
        raise TypeError("its settings are no settings")
    return settings


# What SQLite lets stand in a cell is looked at here: what is of another kind raises TypeError or ValueError.


def _caption(stream: str, row: Sequence[Any], selected: tuple[int, ...]) -> Caption:
    clip, start, end, text, num_tokens = row
    if not isinstance(text, str):
        raise TypeError(f"the caption of clip {clip} is no text")
    return Caption(stream, clip, float(start), float(end), text, int(num_tokens), selected)


def _kept(selected: bytes) -> tuple[int, ...]:
    columns = np.frombuffer(selected, "<i4")
    if len(columns) and not (columns[0] >= 0 and (columns[:-1] < columns[1:]).all() and columns[-1] < MOST_COLUMNS):
        raise ValueError("kept tokens that no clip has")
    return tuple(columns.tolist())


def _has_content(path: Path) -> bool:
    """An empty file counts as none: a process was killed before its first transaction."""
    return path.exists() and path.stat().st_size > 0


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino


def _one(connection: sqlite3.Connection, query: str, *values: Any) -> Any:
    return connection.execute(query, values).fetchone()[0]


def _packed(values: Any, dtype: str) -> bytes:
    return np.asarray(values, dtype).tobytes()


def _unknown(stream: str, known: list[str]) -> InputError:
    have = f"it has {', '.join(known)}" if known else "it has none yet"
    return InputError(f"the memory has no stream '{stream}' ({have}); name one of these, or caption a video first")
