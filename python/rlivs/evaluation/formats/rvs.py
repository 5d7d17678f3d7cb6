"""RVS-Ego and RVS-Movie (VStream-QA, arXiv 2406.08085), open questions asked in mid-stream, in either of two forms.

The dataset's own questions (`test_qa_ego4d.json`) have moments of the original film; the list of clips beside it
(`rvs_ego.json`) says where a video begins in that. Or a list of videos, each with its `conversations`, whose moments
are the video's. A question is asked at its `end_time`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlivs.evaluation.question import Question

_CLIPS = {"test_qa_ego4d.json": "rvs_ego.json", "test_qa_movienet.json": "rvs_movie.json"}


def read(path: Path) -> Iterator[Question]:
    """Questions by video; kind: `answer_type` where it is given."""
    rows = json.loads(path.read_text(encoding="utf-8-sig"))
    if rows and "conversations" in rows[0]:
        for video in rows:
            yield from _conversations(video)
        return
    begins = _begins(path)
    for row in rows:
        yield Question(
            id=str(row["id"]),
            video=row["video_id"],
            text=row["question"],
            answer=row["answer"],
            at=float(row["end_time"]) - begins[row["video_id"]],
            kind=row.get("answer_type", ""),
        )


def _conversations(video: dict[str, Any]) -> Iterator[Question]:
    for number, turn in enumerate(video["conversations"]):
        yield Question(
            id=f"{video['video_id']}_{number}",
            video=video["video_id"],
            text=turn["question"],
            answer=turn["answer"],
            at=float(turn["end_time"]),
            kind=turn.get("answer_type", ""),
        )


def _begins(path: Path) -> dict[str, float]:
    """Where each video begins in its original film, in seconds."""
    clips = path.with_name(_CLIPS.get(path.name, "rvs_ego.json"))
    return {
        clip["video_id"]: float(clip.get("start_time", 0)) for clip in json.loads(clips.read_text(encoding="utf-8-sig"))
    }
