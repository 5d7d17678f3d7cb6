"""A proxy on loopback through which FFmpeg makes every HTTP connection, so that each is judged.

FFmpeg resolves names, follows redirects and opens a playlist's segments by itself: an address checked beforehand says
nothing about where it ends up. Here the host of every single connection is checked, and the connection goes to the IP
address that was checked.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import socketserver
from threading import Thread
from types import TracebackType
from urllib.parse import urlsplit

from rlivs.serving.addresses import Resolver, check_host, resolve
from rlivs.serving.refusals import Refusal
from rlivs.serving.settings import ServeSettings

_HEAD_LIMIT = 64 * 1024
_CONNECT_TIMEOUT = 10.0
_SILENCE = 60.0


class HttpGate:
    """The proxy, running from `open` to `close`; meanwhile it is this process's `http_proxy`.

    `trusted`: hosts that may be connected to wherever they lead, as the operator named them.
    """

    def __init__(self, settings: ServeSettings, trusted: frozenset[str] = frozenset(), resolver: Resolver = resolve):
        self._settings, self._trusted, self._resolver = settings, trusted, resolver
        self._server: _Server | None = None
        self._environment: dict[str, str | None] = {}

    @property
    def address(self) -> str:
        """`http://127.0.0.1:port`. Only while open."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def open(self) -> None:
        """Listen, and make FFmpeg use the proxy. Opening twice is harmless."""
        if self._server is not None:
            return
        self._server = _Server(self)
        Thread(target=self._server.serve_forever, name="http gate", daemon=True).start()
        # `http_proxy` is what FFmpeg reads for http and https alike; hosts in `no_proxy` would go past the gate.
        for name, value in (("http_proxy", self.address), ("no_proxy", None)):
            self._environment[name] = os.environ.get(name)
            _set_environment(name, value)

    def close(self) -> None:
        if self._server is None:
            return
        for name, value in self._environment.items():
            _set_environment(name, value)
        self._server.shutdown()
        self._server.server_close()
        self._server = None

    def __enter__(self) -> HttpGate:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self, host: str, port: int) -> socket.socket:
        """A connection to an allowed host, at an address that was checked. Raises Refusal, OSError."""
        if host.lower() in self._trusted:
            return socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT)
        return connect_checked(check_host(host, port, self._settings, self._resolver), port)


def connect_checked(addresses: tuple[str, ...], port: int) -> socket.socket:
    """A connection to the first of `addresses` (checked IP addresses) that takes it. Raises OSError."""
    failure = OSError("no address")
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout=_CONNECT_TIMEOUT)
        except OSError as error:
            failure = error
    raise failure


def relay(client: socket.socket, server: socket.socket) -> None:
    """Carry bytes both ways until either side ends or both are silent for a minute."""
    while True:
        readable, _, _ = select.select([client, server], [], [], _SILENCE)
        if not readable:
            return
        for side in readable:
            data = side.recv(65536)
            if not data:
                return
            (server if side is client else client).sendall(data)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(self, gate: HttpGate) -> None:
        self.gate = gate
        super().__init__(("127.0.0.1", 0), _Request)


class _Request(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        client: socket.socket = self.request
        client.settimeout(_CONNECT_TIMEOUT)
        try:
            head, rest = _read_head(client)
            method, target, headers = _parse(head)
            host, port, first = _where(method, target, headers)
            with self.server.gate.connect(host, port) as server:
                client.settimeout(None)
                server.settimeout(None)
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    server.sendall(first)
                if rest:
                    server.sendall(rest)
                relay(client, server)
        except Refusal:
            _answer(client, b"403 Forbidden")
        except ValueError:
            _answer(client, b"400 Bad Request")
        except OSError:
            _answer(client, b"502 Bad Gateway")


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(8192)
        if not more or len(data) > _HEAD_LIMIT:
            raise ValueError("no request")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _parse(head: bytes) -> tuple[str, str, list[str]]:
    first, *headers = head.decode("latin-1").split("\r\n")
    method, target, _version = first.split(" ")
    return method, target, headers


def _where(method: str, target: str, headers: list[str]) -> tuple[str, int, bytes]:
    """Host and port of a request, and the request as its server takes it. Raises ValueError."""
    if method == "CONNECT":
        parts = urlsplit(f"//{target}")
        if parts.hostname is None or parts.port is None:
            raise ValueError(target)
        return parts.hostname, parts.port, b""
    parts = urlsplit(target)
    if parts.scheme != "http" or not parts.hostname or "@" in parts.netloc:
        raise ValueError(target)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # The Host header is the checked one. One request a connection: the next may be for another host.
    dropped = ("proxy-", "connection:", "host:")
    kept = [header for header in headers if not header.lower().startswith(dropped)]
    lines = [f"{method} {path} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close", *kept, "", ""]
    return parts.hostname, parts.port or 80, "\r\n".join(lines).encode("latin-1")


def _answer(client: socket.socket, status: bytes) -> None:
    with contextlib.suppress(OSError):
        client.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def _set_environment(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
