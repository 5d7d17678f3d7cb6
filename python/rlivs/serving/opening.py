"""Making or reopening a stream, and giving it its source."""

from __future__ import annotations

from threading import Lock
from typing import Any

from rlivs.serving.refusals import Refusal
from rlivs.serving.service import Service

STORED = "stored"  # the state of a stream that the memory knows and nobody has opened

_one_at_a_time = Lock()


def open_stream(service: Service, name: str, source: Any | None, *, resume: bool, limit: int) -> None:
    """Create the stream `name`, or with `resume` continue it, and watch `source` if there is one.

    Raises Refusal when it exists (without `resume`) or `limit` streams are open. A stream that was new and whose source
    is refused is not kept.
    """
    with _one_at_a_time:  # or two requests would both find room for the last one
        states = {status.stream: str(status.state) for status in service.streams()}
        known = name in states
        if known and not resume:
            raise Refusal(
                f"there is a stream '{name}' already; set resume, or choose another name", 409, "stream_exists"
            )
        if states.get(name, STORED) == STORED:
            if sum(state != STORED for state in states.values()) >= limit:
                raise Refusal(f"the server holds its {limit} open streams; delete one first", 429, "too_many_streams")
            service.create(name, source=source.name if source is not None else "", resume=known)
    if source is None:
        return
    try:
        service.attach(name, source)
    except BaseException:
        if not known:
            service.delete(name)
        raise
