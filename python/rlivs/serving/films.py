"""The videos of chat completions: each captioned once, in a stream of its own, the latest few remembered."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import re
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from rlivs.serving.opening import open_stream
from rlivs.serving.refusals import Refusal, unknown_stream
from rlivs.serving.service import Service
from rlivs.serving.settings import ServeSettings
from rlivs.serving.sources import SourceDoor

if TYPE_CHECKING:
    from rlivs.video.live import Source

KEPT = 8
PREFIX = "chat-"
_NAME = re.compile(PREFIX + "[0-9a-f]{16}")
_DATA_URL = re.compile(r"data:video/[a-z0-9.+-]{1,64};base64,", re.IGNORECASE)
_LOOK = 0.05
_OVER = frozenset({"ended", "failed"})


class Films:
    """Finds or makes the stream of a `video_url`. Thread-safe."""

    def __init__(self, service: Service, settings: ServeSettings, door: SourceDoor) -> None:
        self._service, self._settings, self._door = service, settings, door
        self._lock = Lock()
        # key -> stream, least recently asked first. What an earlier server left has no key but its own name.
        self._streams = {name: name for name in self._listed() if _NAME.fullmatch(name)}
        self._folder = tempfile.TemporaryDirectory(prefix="rlivs-serve-")

    async def stream_of(self, url: str) -> str:
        """The stream of a video, captioned to its end. Raises Refusal for what may not be read or has no end."""
        if url.startswith("stream:"):
            name = url.removeprefix("stream:")
            known = await asyncio.to_thread(self._listed)
            if name not in known:
                raise unknown_stream(name)
            return name
        name = await asyncio.to_thread(self._begin, url)
        deadline = time.monotonic() + self._settings.video_timeout
        while True:
            status = await asyncio.to_thread(self._service.status, name)
            if str(status.state) in _OVER:
                break
            if time.monotonic() > deadline:
                raise Refusal("the video takes too long to caption; make it a stream and ask that", 504, "timeout")
            await asyncio.sleep(_LOOK)
        if str(status.state) == "failed" and not status.clips:
            await asyncio.to_thread(self._forget, name)
            raise Refusal(f"the video could not be read: {status.last_error}", 400, "unreadable_source")
        return name

    def close(self) -> None:
        self._folder.cleanup()

    def _listed(self) -> list[str]:
        return [status.stream for status in self._service.streams()]

    def _begin(self, url: str) -> str:
        """The stream of the video, which may still be being captioned."""
        if url.startswith("data:"):
            data = _decoded(url)
            key = hashlib.sha256(data).hexdigest()
        else:
            data = None
            key = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        with self._lock:
            name = self._streams.pop(key, None)
            if name is not None and name in self._listed():
                self._streams[key] = name
                return name
            with ExitStack() as refused:
                refused.callback(self._file(key).unlink, missing_ok=True)
                source = self._open(url, key, data)
                refused.callback(source.close)
                # Its name says what was read, so that a film that was replaced is not taken for the old one.
                name = PREFIX + hashlib.sha256(f"{key} {_version(source.name)}".encode()).hexdigest()[:16]
                if source.live:
                    raise Refusal(
                        "that goes on without end; make it a stream, then ask stream:NAME", 400, "live_source"
                    )
                self._make_room(name)
                open_stream(self._service, name, source, resume=True, limit=self._settings.max_streams)
                refused.pop_all()
            self._streams.pop(name, None)
            self._streams[key] = name
            return name

    def _file(self, key: str) -> Path:
        """Where a film that came with its request is kept, as long as its stream is."""
        return Path(self._folder.name) / f"{key}.mp4"

    def _open(self, url: str, key: str, data: bytes | None) -> Source:
        if data is None:
            return self._door.open(url)
        from rlivs.video.live import open_source

        path = self._file(key)
        path.write_bytes(data)
        return open_source(path)

    def _make_room(self, name: str) -> None:
        others = [key for key, stream in self._streams.items() if stream != name]
        for key in others[: max(0, len(others) + 1 - KEPT)]:
            self._drop(key)

    def _forget(self, name: str) -> None:
        with self._lock:
            for key in [key for key, stream in self._streams.items() if stream == name]:
                self._drop(key)

    def _drop(self, key: str) -> None:
        name = self._streams.pop(key)
        try:
            if name in self._listed():
                self._service.delete(name)
        finally:
            self._file(key).unlink(missing_ok=True)


def _decoded(url: str) -> bytes:
    head = _DATA_URL.match(url)
    if head is None:
        raise Refusal("write videos as data:video/mp4;base64,...", 400, "bad_data_url")
    try:
        return base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise Refusal("the video's base64 is malformed", 400, "bad_data_url") from None


def _version(path: str) -> str:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{found.st_mtime_ns} {found.st_size}"
