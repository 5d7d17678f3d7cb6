"""A running server: the engine's streams behind the application, until it is told to stop."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI

from rlivs.errors import InputError
from rlivs.serving.app import create_app
from rlivs.serving.past_pictures import past_picture
from rlivs.serving.served import Served
from rlivs.serving.settings import ServeSettings
from rlivs.serving.sources import SourceDoor
from rlivs.streaming.service import StreamService

if TYPE_CHECKING:
    from rlivs.streaming import StreamingVideoQA

# Seconds that answers and pushes get to finish when the server is stopped; event streams end at once.
_FAREWELL = 3


def run_server(
    engine: StreamingVideoQA,
    settings: ServeSettings,
    sources: Sequence[tuple[str, str]] = (),
    *,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve until SIGINT or SIGTERM. `sources`: (stream, source) pairs to watch, the operator's own and not checked.

    `ready` is called with the address once it can be used. Raises InputError if the address is taken, or a source
    cannot be opened.
    """
    listening = _listen(settings)
    trusted = frozenset(host for _, spec in sources if (host := urlsplit(spec).hostname) is not None)
    door = SourceDoor(settings, trusted)
    with listening, StreamService(engine) as service:
        app = create_app(
            service,
            settings,
            model=engine.backbone.name,
            count_tokens=_counter(engine),
            door=door,
            past=partial(past_picture, engine.store),
        )
        for name, spec in sources:
            _watch(service, door, name, spec)
        app.state.served.pictures.watch_all()
        _Server(app, lambda: ready(_address(listening, settings))).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Says when it can be used, and returns when it is told to stop: the streams are to be closed after it."""

    def __init__(self, app: FastAPI, ready: Callable[[], None], farewell: int = _FAREWELL) -> None:
        """`app`: of `create_app`; `farewell`: seconds that requests under way get when the server is stopped."""
        self._served: Served = app.state.served
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=farewell,
                # Connections beyond these are answered 503 rather than left waiting.
                limit_concurrency=self._served.settings.max_listeners + 256,
            )
        )
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._served.stopping.set()
        await super().shutdown(sockets=sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn's own raises the signal once more at the end, which would end the process there."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _watch(service: StreamService, door: SourceDoor, name: str, spec: str) -> None:
    known = {status.stream for status in service.streams()}
    source = door.open_trusted(spec)
    service.create(name, source=source.name, resume=name in known)
    service.attach(name, source)


def _listen(settings: ServeSettings) -> socket.socket:
    host = settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, settings.port))
    except OSError as error:
        listening.close()
        raise InputError(f"cannot listen on {host}:{settings.port} ({error.strerror}); choose another --port") from None
    return listening


def _address(listening: socket.socket, settings: ServeSettings) -> str:
    host = settings.host.strip("[]")
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"


def _counter(engine: Any) -> Callable[[str], int]:
    tokenizer = engine.backbone.tokenizer
    return lambda text: len(tokenizer(text, add_special_tokens=False).input_ids)
