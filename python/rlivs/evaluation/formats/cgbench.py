"""CG-Bench, multiple choice over the whole video (arXiv 2412.12075): a JSON list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rlivs.evaluation.question import LETTERS, Question


def read(path: Path) -> Iterator[Question]:
    """Videos are named by `video_uid`, questions by `qid`; `right_answer` is a letter; kind: `domain`."""
    for row in json.loads(path.read_text(encoding="utf-8-sig")):
        choices = tuple(row["choices"])
        right = row.get("right_answer") or None
        yield Question(
            id=str(row["qid"]),
            video=str(row["video_uid"]),
            text=row["question"],
            answer=None if right is None else choices[LETTERS.index(right)],
            choices=choices,
            kind=row.get("domain", ""),
        )
