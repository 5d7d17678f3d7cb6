"""The file that answers go to, a JSON object a line, each written before the next question is asked."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any

from rlivs.errors import InputError

Row = dict[str, Any]
_NEEDED = {"id", "way", "kind", "right", "f1", "model", "options", "question", "answer", "pred"}
_TEXTS = ("id", "way", "kind", "question", "pred")
answer_key = itemgetter("id", "way")  # what tells one answer of a file from another
_HEAD = '{"id": '  # how every line begins


def read_predictions(path: str | Path, *, judged: bool = False) -> list[Row]:
    """The file's lines, none where there is no file; a last line that was cut off does not count.

    judged: predictions with a judge's verdicts. Raises InputError for a file that cannot be read or holds other things.
    """
    kind = "verdicts" if judged else "predictions"
    try:
        rows = [json.loads(line) for line in _whole_lines(Path(path).read_text(encoding="utf-8"))]
        if not all(_is_row(row, judged) for row in rows):
            raise ValueError
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; choose another file") from None
    except ValueError:
        raise InputError(f"{path} is no file of {kind}; choose another one") from None
    return rows


def check_same(path: str | Path, rows: Iterable[Row], others: Iterable[Row], names: Collection[str]) -> None:
    """Raise InputError where a row and another of the same id and way differ in a field of these names."""
    known = {answer_key(other): other for other in others}
    for row in rows:
        other = known.get(answer_key(row), row)
        for name in names:
            if row[name] != other[name]:
                raise InputError(
                    f"{path} has question '{row['id']}' with another {name} ({_short(row[name])}, not "
                    f"{_short(other[name])}); choose another --out"
                )


@contextmanager
def appending(path: str | Path, rows: list[Row], *, judged: bool = False) -> Iterator[Callable[[Row], None]]:
    """Yields what writes one more line to the file, which must still hold these `rows`, and nobody else writes to.

    Raises InputError where it cannot be written.
    """
    try:
        with Path(path).open("a+", encoding="utf-8") as file:
            _lock(file, path)
            if read_predictions(path, judged=judged) != rows:
                raise InputError(f"{path} has just been written by another run; start again, or choose another --out")
            _mend_end(file)

            def write(row: Row) -> None:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()

            yield write
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another --out") from None


def _whole_lines(text: str) -> list[str]:
    """The lines but one that was being written when a process ended. Raises ValueError for an end of another kind."""
    *lines, last = text.split("\n")
    if not last:
        return lines
    try:
        json.loads(last)
        return [*lines, last]
    except ValueError:
        if last.startswith(_HEAD) or _HEAD.startswith(last):
            return lines
        raise


def _is_row(row: Any, judged: bool) -> bool:
    if not isinstance(row, dict) or not set(row) >= _NEEDED or ("judge" in row) != judged:
        return False
    return all(isinstance(row[name], str) for name in _TEXTS)


def _lock(file: Any, path: str | Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"{path} is being written by another run; choose another --out") from None


def _mend_end(file: Any) -> None:
    """A line that was cut off goes; one that only lacks its end gets it."""
    file.seek(0)
    text = file.read()
    *lines, last = text.split("\n")
    if not last:
        return
    if len(_whole_lines(text)) > len(lines):
        file.write("\n")
    else:
        file.truncate(len(text[: len(text) - len(last)].encode()))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"
