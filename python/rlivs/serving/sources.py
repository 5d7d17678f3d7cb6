"""What a client may have watched: files under the allowed folders, films and cameras at the allowed addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rlivs.errors import InputError
from rlivs.serving.addresses import CheckedAddress, Resolver, check_host, check_url, resolve, without_password
from rlivs.serving.http_gate import HttpGate, connect_checked
from rlivs.serving.paths import check_path, path_of_file_url
from rlivs.serving.refusals import Refusal
from rlivs.serving.rtsp_gate import RtspGate
from rlivs.serving.settings import ServeSettings

if TYPE_CHECKING:
    from rlivs.video.live import Source

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")

# FFmpeg's names of what a film or camera at an address may be. The others describe sessions and lists of further
# addresses, to which FFmpeg would connect past the gates.
_HTTP_FORMATS = {"mov", "mp4", "matroska", "webm", "avi", "flv", "live_flv", "asf", "ogg", "mpeg", "mpegts", "hls"}
_HTTP_FORMATS |= {"mpjpeg", "mjpeg", "h264", "hevc"}
_HTTP_OPTIONS = {"protocol_whitelist": "http,https,tls,tcp,httpproxy,crypto,data"}
# How the addresses of films end: whoever names one is told at once where it is not there.
_FILM_ENDINGS = {".mp4", ".mkv", ".webm", ".avi", ".mov"}
_RTSP_OPTIONS = {"rtsp_transport": "tcp", "protocol_whitelist": "rtsp,rtp,tcp,udp"}


class SourceDoor:
    """Opens sources for clients, within the settings. Made once a server; `close` when it stops."""

    def __init__(
        self, settings: ServeSettings, trusted: frozenset[str] = frozenset(), resolver: Resolver = resolve
    ) -> None:
        self._settings, self._resolver = settings, resolver
        self._gate = HttpGate(settings, trusted, resolver)

    def open(self, spec: str) -> Source:
        """The source a client names: a path, `file://`, `http(s)://` or `rtsp://`. Raises InputError (Refusal)."""
        from rlivs.video.live import open_source

        scheme = _SCHEME.match(spec)
        if scheme is None or scheme[1].lower() == "file":
            path = check_path(path_of_file_url(spec) if scheme else spec, self._settings.roots)
            return open_source(path)
        address = check_url(spec, self._settings, self._resolver)
        if address.scheme == "rtsp":
            return self._open_rtsp(address)
        return self._open_http(address)

    def open_trusted(self, spec: str) -> Source:
        """The source the operator names: whatever `open_source` opens, or a camera at an HTTP address, which like
        those of other schemes need not be there yet. Raises InputError."""
        from rlivs.video.live import LiveSource, open_source

        name = without_password(spec)
        try:
            return open_source(spec, name=name)
        except InputError:
            if not _may_come_later(spec):
                raise
            return LiveSource(spec, name=name)

    def close(self) -> None:
        self._gate.close()

    def _open_http(self, address: CheckedAddress) -> Source:
        import av

        from rlivs.video.live import open_source

        self._gate.open()
        try:
            with av.open(address.url, options=_HTTP_OPTIONS, timeout=(10.0, 10.0), metadata_errors="ignore") as film:
                formats = set(film.format.name.split(","))
        except (av.FFmpegError, OSError):
            raise Refusal("nothing that may be read here is at the address", 400, "unreadable_source") from None
        if not formats & _HTTP_FORMATS:
            raise Refusal(f"what is at the address ({', '.join(sorted(formats))}) may not be read here")
        return open_source(address.url, name=without_password(address.url), options=_HTTP_OPTIONS)

    def _open_rtsp(self, address: CheckedAddress) -> Source:
        from rlivs.video.live import LiveSource

        def connect() -> Any:
            return connect_checked(check_host(address.host, address.port, self._settings, self._resolver), address.port)

        gate = RtspGate(connect)
        location = f"rtsp://{address.credentials}127.0.0.1:{gate.port}{address.path}"
        source = LiveSource(location, name=without_password(address.url), options=_RTSP_OPTIONS)
        return _GatedSource(source, gate)


def _may_come_later(spec: str) -> bool:
    """Whether what cannot be opened may be a camera, and not a film, at an HTTP address."""
    parts = urlsplit(spec)
    return parts.scheme in ("http", "https") and PurePosixPath(parts.path).suffix.lower() not in _FILM_ENDINGS


class _GatedSource:
    """A source whose relay ends with it."""

    def __init__(self, source: Source, gate: RtspGate) -> None:
        self._source, self._gate = source, gate

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def live(self) -> bool:
        return self._source.live

    def frames(self, start: float = 0.0) -> Iterator[Any]:
        return self._source.frames(start)

    def status(self) -> Any:
        return self._source.status()

    def close(self) -> None:
        self._source.close()
        self._gate.close()
