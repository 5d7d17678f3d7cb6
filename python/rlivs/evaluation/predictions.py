"""The file that answers go to, a JSON object a line, each written before the next question is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlivs.errors import InputError

Row = dict[str, Any]
_NEEDED = {"id", "way", "kind", "right", "f1", "model", "options", "question", "answer", "pred"}


def read_predictions(path: str | Path, *, judged: bool = False) -> list[Row]:
    """The file's lines, none where there is no file; a last line that was cut off does not count.

    judged: predictions with a judge's verdicts. Raises InputError for a file that cannot be read or holds other things.
    """
    kind = "verdicts" if judged else "predictions"
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
        rows = [json.loads(line) for line in lines[:-1]]
        if not all(set(row) >= _NEEDED and ("judge" in row) == judged for row in rows):
            raise ValueError
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; choose another file") from None
    except (ValueError, TypeError):
        raise InputError(f"{path} is no file of {kind}; choose another one") from None
    return rows


def check_same(path: str | Path, rows: Iterable[Row], others: Iterable[Row], names: Collection[str]) -> None:
    """Raise InputError where a row and another of the same id and way differ in a field of these names."""
    known = {(other["id"], other["way"]): other for other in others}
    for row in rows:
        other = known.get((row["id"], row["way"]), row)
        for name in names:
            if row[name] != other[name]:
                raise InputError(
                    f"{path} has question '{row['id']}' with another {name} ({_short(row[name])}, not "
                    f"{_short(other[name])}); choose another --out"
                )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


@contextmanager
def appending(path: str | Path, rows: list[Row]) -> Iterator[Callable[[Row], None]]:
    """Yields what writes one more line to the file of these `rows`. Raises InputError where it cannot be written."""
    try:
        with Path(path).open("a+", encoding="utf-8") as file:
            _cut_off(file, len(rows))

            def write(row: Row) -> None:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()

            yield write
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another --out") from None


def _cut_off(file: Any, lines: int) -> None:
    """What follows the whole lines goes: an answer that was being written when the process ended."""
    file.seek(0)
    for _ in range(lines):
        file.readline()
    file.truncate(file.tell())
