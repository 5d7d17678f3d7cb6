"""Requests that are still under way when the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from threading import Event
from typing import Any

from rlivs.serving.guard import App, Receive, Scope, Send, respond


class Farewell:
    """ASGI middleware: a request that the stopping server cancels is answered 503, or breaks off where its answer has
    begun. Raised further, the cancellation would be logged as a fault of the application.

    stopping: set before the server cancels anything.
    """

    def __init__(self, app: App, stopping: Event) -> None:
        self._app, self._stopping = app, stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except asyncio.CancelledError:
            if scope["type"] != "http" or not self._stopping.is_set():
                raise
            if not begun:
                await respond(send, 503, "the server is being stopped; ask again once it is back")
