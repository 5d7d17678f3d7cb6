"""A relay on loopback to one RTSP camera, each connection judged, redirects refused.

FFmpeg would resolve the camera's name again and follow a redirect to wherever it points; behind the relay it sees one
address, and an answer of 3xx ends the connection.
"""

from __future__ import annotations

import select
import socket
import socketserver
from collections.abc import Callable
from threading import Thread

from rlivs.serving.refusals import Refusal

_SILENCE = 60.0
_HEAD_LIMIT = 64 * 1024


class RtspGate:
    """Listens on a port of its own until `close`; `connect` gives a checked connection or raises Refusal, OSError."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._server = _Server(connect)
        Thread(target=self._server.serve_forever, name="rtsp gate", daemon=True).start()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class RedirectWatch:
    """Follows what a server sends far enough to see a redirect: answers with their bodies, and media between them."""

    def __init__(self) -> None:
        self._buffer = b""
        self._skip = 0

    def passes(self, data: bytes) -> bool:
        """Whether `data`, the next bytes, may go on. False from a redirect, or what is no RTSP, onwards."""
        self._buffer += data
        while True:
            skipped = min(self._skip, len(self._buffer))
            self._buffer, self._skip = self._buffer[skipped:], self._skip - skipped
            if not self._buffer:
                return True
            if self._buffer[:1] == b"$":
                if len(self._buffer) < 4:
                    return True
                self._skip = 4 + int.from_bytes(self._buffer[2:4], "big")
                continue
            head, end, _ = self._buffer.partition(b"\r\n\r\n")
            if self._buffer[:13].startswith(b"RTSP/1.0 3") or head.upper().startswith(b"REDIRECT "):
                return False
            if not end:
                return len(self._buffer) <= _HEAD_LIMIT
            length = _content_length(head)
            if length is None:
                return False
            self._skip = len(head) + 4 + length


def _content_length(head: bytes) -> int | None:
    """The length of a message's body; None where the header is malformed."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value) if value.strip().isdigit() else None
    return 0


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self.connect = connect
        super().__init__(("127.0.0.1", 0), _Connection)


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        client: socket.socket = self.request
        watch = RedirectWatch()
        try:
            with self.server.connect() as camera:
                camera.settimeout(None)
                while True:
                    readable, _, _ = select.select([client, camera], [], [], _SILENCE)
                    for side in readable:
                        data = side.recv(65536)
                        if not data or (side is camera and not watch.passes(data)):
                            return
                        (camera if side is client else client).sendall(data)
                    if not readable:
                        return
        except (Refusal, OSError):
            return
