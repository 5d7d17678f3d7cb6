"""This package's own: a JSON object a line, `{"video", "question", "answer", "choices", "at", "kind", "id"}`.

All but the first two may be left out. The answer of a multiple choice is the right choice's text, or its letter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from string import ascii_uppercase

from rlivs.evaluation.question import Question
from rlivs.times import parse_time

KNOWN = {"video", "question", "answer", "choices", "at", "kind", "id"}


def read(path: Path) -> Iterator[Question]:
    """The file's questions; `at` in seconds, or as `m:ss`; without an `id`, the line's number is one."""
    with path.open(encoding="utf-8") as lines:
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
    choices, answer = tuple(map(str, row.get("choices") or ())), row.get("answer")
    answer = None if answer is None else str(answer)
    if answer is not None and answer not in choices and answer in ascii_uppercase[: len(choices)]:
        answer = choices[ascii_uppercase.index(answer)]
    at = row.get("at")
    return Question(
        id=str(row.get("id", number)),
        video=str(row["video"]),
        text=str(row["question"]),
        answer=answer,
        choices=choices,
        at=None if at is None else parse_time(str(at)),
        kind=str(row.get("kind") or ""),
    )
