"""A stream's events, from the service's iterator to a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from threading import Event, Thread
from typing import Any

from rlivs.errors import InputError
from rlivs.serving.addresses import without_password
from rlivs.serving.refusals import Refusal, error_body
from rlivs.serving.served import Served
from rlivs.serving.sse import HEARTBEAT, sse

# A client that is this many events behind is let go; it comes back with the last one it has seen.
_MOST_WAITING = 10_000
_LOOK = 0.5  # seconds after which a listener's thread sees that its client has left, or that the server stops


async def follow(served: Served, stream: str, after: int) -> AsyncIterator[str]:
    """`hello`, then the events with a serial number above `after`, as server-sent events, until the stream is deleted,
    the client leaves or the server stops. Raises Refusal when too many clients listen."""
    if not served.listeners.acquire(blocking=False):
        yield sse(error_body("too many listeners; close one", 429), event="refused")
        return
    loop = asyncio.get_running_loop()
    news: asyncio.Queue[Any] = asyncio.Queue()
    left = Event()
    served.metrics.listeners.inc()

    def tell(item: Any) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(news.put_nowait, item)

    def listen() -> None:
        try:
            events = served.service.subscribe(stream, after)
            while not (left.is_set() or served.stopping.is_set() or events.ended or news.qsize() > _MOST_WAITING):
                event = events.get(timeout=_LOOK)
                if event is not None:
                    tell(event)
        except InputError as error:
            tell(error)
        finally:
            tell(None)
            served.listeners.release()
            served.metrics.listeners.dec()

    Thread(target=listen, name=f"events of {stream}", daemon=True).start()
    yield sse({"instance": served.instance, "stream": stream}, event="hello")
    try:
        while True:
            try:
                event = await asyncio.wait_for(news.get(), HEARTBEAT)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            if event is None:
                return
            if isinstance(event, InputError):
                status = event.status if isinstance(event, Refusal) else 400
                yield sse(error_body(str(event), status), event="refused")
                return
            yield sse(_shown(event.data), event=event.kind, serial=event.serial if event.serial >= 0 else None)
    finally:
        left.set()


def _shown(data: dict[str, Any]) -> dict[str, Any]:
    """An event's data as clients may see it."""
    return {**data, "source": without_password(data["source"])} if isinstance(data.get("source"), str) else data
