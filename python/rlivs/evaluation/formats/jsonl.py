"""This package's own: a JSON object a line, `{"video", "question", "answer", "choices", "at", "kind", "id"}`.

All but the first two may be left out. The answer of a multiple choice is the right choice's text, or its letter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rlivs.evaluation.question import LETTERS, Question
from rlivs.times import parse_time

KNOWN = {"video", "question", "answer", "choices", "at", "kind", "id"}


def read(path: Path) -> Iterator[Question]:
    """The file's questions; `at` in seconds, or as `m:ss`; without an `id`, the line's number is one."""
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _question(number, line)


def _question(number: int, line: str) -> Question:
    try:
        row = json.loads(line)
    except ValueError:
        raise ValueError(f"line {number} is no JSON object") from None
    if not isinstance(row, dict) or not {"video", "question"} <= set(row) or set(row) - KNOWN:
        raise ValueError(f"line {number} has other fields than {', '.join(sorted(KNOWN))}, or lacks video or question")
    choices, answer, at, name = row.get("choices") or [], row.get("answer"), row.get("at"), row.get("id")
    if not isinstance(choices, list):
        raise ValueError(f"line {number}: choices is no list")
    if answer in LETTERS[: len(choices)] and answer not in choices:
        answer = choices[LETTERS.index(answer)]
    return Question(
        id=str(number) if name is None else name,
        video=row["video"],
        text=row["question"],
        answer=None if answer == "" else answer,
        choices=tuple(choices),
        at=None if at is None else parse_time(str(at)),
        kind=row.get("kind") or "",
    )
