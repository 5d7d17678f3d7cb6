"""An answer as the commands print it with `--json`."""

from __future__ import annotations

from typing import Any

from rlivs.streaming.answering import Answer


def answer_json(answer: Answer) -> dict[str, Any]:
    """Question, answer, moment, and the captions it rests on."""
    return {
        "question": answer.question,
        "text": answer.text,
        "at": answer.at,
        "citations": [
            {"index": c.index, "start": c.start, "end": c.end, **answer.clock.stamps(c.start, c.end), "text": c.text}
            for c in answer.citations
        ],
    }
