"""MovieChat-1K (arXiv 2307.16449): a folder of JSON files, a film each, asked about as a whole and at moments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rlivs.evaluation.question import Question


def read(path: Path) -> Iterator[Question]:
    """`global` questions after the film; those at a `breakpoint`, which names a frame, at that frame's second."""
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    for file in files:
        film = json.loads(file.read_text(encoding="utf-8-sig"))
        info = film["info"]
        for kind in ("global", "breakpoint"):
            for number, row in enumerate(film.get(kind, ())):
                yield Question(
                    id=f"{file.stem}_{kind}_{number}",
                    video=info["video_path"],
                    text=row["question"],
                    answer=row.get("answer"),
                    at=row["time"] / info["fps"] if kind == "breakpoint" else None,
                    kind=kind,
                )
