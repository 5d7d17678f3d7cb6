"""What every request passes: who may ask, from which page, how much, and the headers of every answer."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

from rlivs.serving.refusals import error_body
from rlivs.serving.settings import ServeSettings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# The page itself holds no data: it may be read without the token, and asks for it.
OPEN_PATHS = frozenset({"/", "/healthz", "/favicon.ico"})
OPEN_FOLDER = "/page/"

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """ASGI middleware: the token, the host and origin of requests to a server without one, bodies, headers."""

    def __init__(self, app: App, settings: ServeSettings) -> None:
        self._app = app
        self._settings = settings
        self._too_large = f"the request is larger than {settings.max_body} bytes"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # there are no websockets here
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message.get("headers", [])}
                extra = dict(HEADERS)
                if not scope["path"].startswith(OPEN_FOLDER):
                    extra["cache-control"] = "no-store"
                added = [(name.encode(), value.encode()) for name, value in extra.items() if name.encode() not in given]
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await respond(send_with_headers, *refusal)
            return
        await self._app(scope, self._limited(receive), send_with_headers)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._settings.max_body:
            return 413, self._too_large
        # A page of another site can make a browser send requests here, and with a name of its own that it points at
        # this machine even read the answers. Browsers say where a request comes from.
        origin = headers.get("origin")
        if origin is not None and urlsplit_or_none(origin) != headers.get("host", "").lower():
            return 403, "requests of other sites' pages are refused"
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return 403, "requests of other sites' pages are refused"
        if self._settings.token is None:
            if not _is_own_name(headers.get("host", ""), self._settings.host):
                return 403, "open the server by its own name, such as http://127.0.0.1; other names need a token"
            return None
        path = scope["path"]
        if scope["method"] in ("GET", "HEAD") and (path in OPEN_PATHS or path.startswith(OPEN_FOLDER)):
            return None
        kind, _, given = headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode("latin-1"), self._settings.token.encode())
        if kind.lower() != "bearer" or not right:
            return 401, "this server needs its token: Authorization: Bearer TOKEN"
        return None

    def _limited(self, receive: Receive) -> Receive:
        taken = 0
        done = False
        deadline: float | None = None

        async def limited() -> MutableMapping[str, Any]:
            nonlocal taken, done, deadline
            if done:
                return await receive()  # the body is here; what follows is only the client's leaving
            loop = asyncio.get_running_loop()
            if deadline is None:
                deadline = loop.time() + self._settings.body_timeout
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - loop.time()))
            except TimeoutError:
                raise HTTPException(408, "the request came too slowly") from None
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                done = not message.get("more_body", False)
                if taken > self._settings.max_body:
                    raise HTTPException(413, self._too_large)
            return message

        return limited


def urlsplit_or_none(origin: str) -> str | None:
    """The host and port of an origin; None for `null` and what is malformed."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in ("http", "https") else None


def _is_own_name(host_header: str, host: str) -> bool:
    try:
        name = urlsplit(f"//{host_header}").hostname or ""
    except ValueError:
        return False
    return name in ("localhost", "127.0.0.1", "::1", host.strip("[]").lower())


async def respond(send: Send, status: int, message: str) -> None:
    body = json.dumps(error_body(message, status)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status in (408, 413):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
