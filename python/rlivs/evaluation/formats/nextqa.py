"""NExT-QA, multiple choice (arXiv 2105.08276): a CSV with video, question, answer, qid, type, a0 to a4.

Videos are named by their number, or, where `map_vid_vidorID.json` lies beside the CSV, as that says.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from rlivs.evaluation.question import Question

_CHOICES = ("a0", "a1", "a2", "a3", "a4")


def read(path: Path) -> Iterator[Question]:
    """Questions are asked after the video; their kind is the type, such as CW (causal, why) or TN (temporal, next)."""
    places = path.with_name("map_vid_vidorID.json")
    names = json.loads(places.read_text(encoding="utf-8-sig")) if places.exists() else {}
    with path.open(newline="", encoding="utf-8-sig") as rows:
        for row in csv.DictReader(rows):
            choices = tuple(row[name] for name in _CHOICES)
            video = row["video"]
            yield Question(
                id=f"{video}_{row['qid']}",
                video=names.get(video, video),
                text=row["question"],
                answer=choices[int(row["answer"])],
                choices=choices,
                kind=row["type"],
            )
