"""Opening any source of frames by its name."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import av

from rlivs.errors import InputError
from rlivs.video.file_source import FileSource, FrameSource
from rlivs.video.live_source import LiveSource
from rlivs.video.stream_source import OVERLOAD, Gap, Source, SourceStatus, State

__all__ = [
    "OVERLOAD", "FileSource", "FrameSource", "Gap", "LiveSource", "Source", "SourceStatus", "State", "is_address",
    "open_source",
]  # fmt: skip

NETWORK = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "tcp", "udp")
_WEBCAM = re.compile(r"webcam:(\d+)|/dev/video(\d+)")
# FFmpeg's own names of capture devices, in the order they are tried.
_CAPTURE = ("v4l2", "video4linux2,v4l2", "avfoundation", "dshow")
# A second tells what a stream holds; FFmpeg would look at it for five before it gives a picture.
_NETWORK_OPTIONS = {"analyzeduration": "1000000"}
# Over UDP, the other way, a lost packet spoils the pictures up to the next key frame.
_RTSP_OPTIONS = {"rtsp_transport": "tcp"}
_UDP_OPTIONS = {"overrun_nonfatal": "1", "fifo_size": "50000"}


def is_address(text: str) -> bool:
    """Whether a source's name is an address or a webcam, and no file's path."""
    return "://" in text or _WEBCAM.fullmatch(text) is not None


def open_source(
    spec: str | PathLike[str] | Iterable[Any],
    *,
    name: str | None = None,
    rate: float = 1.0,
    options: Mapping[str, str] | None = None,
    timeout: float = 10.0,
    give_up_after: float | None = None,
) -> Source:
    """A source of frames from what it is called.

    A video file; `webcam:0` or `/dev/video0`; `rtsp://`; `udp://` and `tcp://` (MPEG-TS); `rtmp://`, `srt://`;
    `http(s)://`, where a film of known length is treated as a file and all else (HLS and others) as live; or an
    iterable of frames `[H, W, 3]` uint8 RGB, `rate` a second, or (frame, time) pairs. `tcp://...?listen=1`, and
    `rtsp://` with the option `rtsp_flags=listen`, wait for a sender.
    `options` are FFmpeg's; a live source that is silent for `timeout` seconds is connected again, and given up after
    `give_up_after` seconds (None: never). Raises InputError for what cannot be opened, except that cameras on the
    network need not be there yet.
    """
    if not isinstance(spec, (str, PathLike)):
        if not isinstance(spec, Iterable):
            raise InputError(f"a source is a path, an address or frames, not {type(spec).__name__}")
        return FrameSource(spec, rate=rate, name=name or "frames")
    text = str(spec)
    live: dict[str, Any] = {"name": name or text, "timeout": timeout, "give_up_after": give_up_after}
    webcam = _WEBCAM.fullmatch(text)
    if webcam:
        return _webcam(webcam, options, live)
    scheme, sign, _ = text.partition("://")
    if not sign:
        return FileSource(text, name=name)
    scheme = scheme.lower()
    if scheme in ("http", "https"):
        if _has_length(text, timeout, options):
            return FileSource(text, name=name, options=options)
        return LiveSource(text, options=options, **live)
    if scheme not in NETWORK:
        raise InputError(f"{text}: '{scheme}' is no kind of source; use http(s), {', '.join(NETWORK)}, or a file")
    form = "mpegts" if scheme in ("udp", "tcp", "srt") else None
    defaults = _RTSP_OPTIONS if scheme in ("rtsp", "rtsps") else _UDP_OPTIONS if scheme == "udp" else {}
    if "listen" in (options or {}).get("rtsp_flags", ""):
        defaults = {**defaults, "listen_timeout": str(math.ceil(timeout))}
    return LiveSource(text, format=form, options={**_NETWORK_OPTIONS, **defaults, **(options or {})}, **live)


def _webcam(match: re.Match[str], options: Mapping[str, str] | None, live: dict[str, Any]) -> LiveSource:
    number = match[1] or match[2]
    form = next((each for each in _CAPTURE if each in av.formats_available), None)
    if form is None:
        raise InputError("this FFmpeg was built without a webcam input; install a PyAV that has one")
    on_linux = form == _CAPTURE[0] or form == _CAPTURE[1]
    location = {"avfoundation": number, "dshow": f"video={number}"}.get(form, f"/dev/video{number}")
    if on_linux and not Path(location).exists():
        there = sorted(str(path) for path in Path("/dev").glob("video*"))
        raise InputError(
            f"there is no webcam {number}; {'there are ' + ', '.join(there) if there else 'none is connected'}"
        )
    return LiveSource(location, format=form.split(",")[0], options=options, **live)


def _has_length(address: str, timeout: float, options: Mapping[str, str] | None) -> bool:
    """Whether what is at the address ends: a film, or a playlist that is complete."""
    try:
        with av.open(
            address, options=dict(options or {}), timeout=(timeout, timeout), metadata_errors="ignore"
        ) as container:
            return bool(container.duration)
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{address} cannot be opened ({reason}); check the address") from None
