"""Counting requests by route."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from typing import Any

from rlivs.serving.guard import App, Receive, Scope, Send
from rlivs.serving.metrics import Metrics

_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})


class Measured:
    """ASGI middleware: requests by method, route and status, and the seconds to the first byte."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._metrics.request_seconds.labels(_route(scope)).observe(time.perf_counter() - began)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(method, _route(scope), status).inc()


def _route(scope: Scope) -> str:
    """The route's pattern: a label for every address ever asked for would grow without end."""
    return getattr(scope.get("route"), "path", "other")
