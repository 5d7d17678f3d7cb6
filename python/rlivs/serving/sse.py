"""Server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi.responses import StreamingResponse

HEARTBEAT = 15.0  # seconds without an event, after which a comment keeps the connection


def sse(data: Any, *, event: str | None = None, serial: int | None = None) -> str:
    """One event; `data` as JSON, so that no text in it can end a line."""
    lines = [f"event: {event}"] if event else []
    if serial is not None:
        lines.append(f"id: {serial}")
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return "\n".join([*lines, f"data: {text}", "", ""])


class EventStream(StreamingResponse):
    """A response of events, that no proxy on the way holds back."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str]) -> None:
        super().__init__(events, headers={"cache-control": "no-store", "x-accel-buffering": "no"})
