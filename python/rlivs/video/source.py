"""A video file: what its header says, and its frames."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Generator, Iterator, Mapping
from fractions import Fraction
from os import PathLike
from pathlib import Path
from types import TracebackType

import av
from av.container import InputContainer
from av.video.stream import VideoStream as ContainerVideoStream

from rlivs.errors import InputError
from rlivs.video.decoding import VideoStream, check_end, decode_frames, open_container
from rlivs.video.frames import DecodedFrame, Frame
from rlivs.video.integrity import container_family, stated_size

# FFmpeg's names of the containers whose index leads to the key frame before a time, on any file.
_SEEKABLE = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
# Those whose header states the duration; elsewhere it is FFmpeg's estimate, and no proof of anything.
_STATES_DURATION = _SEEKABLE | {"avi", "flv", "asf"}
# Sound begins this much before the pictures, in seconds, for no other reason than its encoder's lead-in.
_LEAD_IN = Fraction(1, 10)
_ATTACHED_PICTURE = 0x400  # AV_DISPOSITION_ATTACHED_PIC: the cover of an album


class VideoFile:
    """A video whose header was read and whose first frame decodes. Nothing stays open between iterations.

    path: as given; duration: seconds, None where neither the video stream nor its container states one;
    width, height: of the first frame as stored, in pixels; frame_rate: the average, in frames a second.
    """

    def __init__(self, path: str, stream: VideoStream, *, duration: float | None, width: int, height: int) -> None:
        self.path = path
        self.duration = duration
        self.width = width
        self.height = height
        self.frame_rate = float(1 / stream.frame_step)
        self._stream = stream

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        """Every frame as RGB in order of time, from the one shown at `start` seconds on.

        Raises InputError where decoding breaks off: at damaged data, or at an end far before the stated one.
        """
        return (Frame(frame.image, frame.time, frame.end) for frame in self.decode(start))

    def decode(self, start: float = 0.0) -> Generator[DecodedFrame, None, None]:
        """Like `frames`, but a picture becomes RGB only when its `image` is read."""
        return decode_frames(self._stream, start)

    def check_end(self) -> None:
        """Raise InputError if the file ends long before its header says; decodes nothing."""
        check_end(self._stream)

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to release: an iteration closes its own container."""


def open_video(path: str | PathLike[str], *, options: Mapping[str, str] | None = None) -> VideoFile:
    """Read the header of a video file (or URL) and decode its first frame.

    Time 0 is the container's start time, or the first picture where that follows within 0.1 s. `options` are FFmpeg's
    for the address. Raises InputError,
    naming the cure, for: a missing, unreadable or empty file, a directory, something that is no video, a file that
    is cut off, one without a video stream or without a single frame.
    """
    name = os.fspath(path)
    local = "://" not in name
    if local:
        _refuse_unreadable(name)
    # Without "file:" FFmpeg takes a name such as "12:30.mp4" for a protocol.
    location = f"file:{name}" if local else name
    try:
        with open_container(location, options or {}) as container:
            whole = local and _is_whole(name)
            stream = _best_video_stream(container, name)
            first = next(_first_pictures(container, stream), None)
            if first is None:
                raise InputError(f"{name} holds no picture that can be decoded; it is cut off or damaged, get it again")
            found = _describe(
                container, stream, first, location=location, name=name, whole=whole, options=options or {}
            )
            duration = found.video_end or found.stated_end or _container_seconds(container)
            return VideoFile(name, found, duration=duration, width=first.width, height=first.height)
    except av.FFmpegError as error:
        raise InputError(_unopened(name, local, error)) from error


def check_video(path: str | PathLike[str]) -> None:
    """Raise InputError for what `open_video` refuses and for a file that ends long before its header says.

    Decodes one frame. A file whose size does not show it whole (AVI, FLV, WMV) is read through, but not decoded.
    """
    open_video(path).check_end()


def _refuse_unreadable(name: str) -> None:
    try:
        mode = os.stat(name).st_mode
    except OSError as error:
        raise InputError(f"no video at {name} ({error.strerror}); check the path") from error
    if stat.S_ISDIR(mode):
        raise InputError(f"{name} is a directory; name one video file in it")
    if not stat.S_ISREG(mode):
        raise InputError(f"{name} is not a regular file; save the video to a file first")
    if not os.access(name, os.R_OK):
        raise InputError(f"{name} may not be read; allow it with: chmod u+r {name}")
    if os.path.getsize(name) == 0:
        raise InputError(f"{name} is empty; get the file again")


def _unopened(name: str, local: bool, error: av.FFmpegError) -> str:
    family = container_family(Path(name)) if local else None
    if family == "mp4":
        return (
            f"{name} is an mp4 file without a readable index (moov), so it was cut off while being copied or "
            "recorded; get the whole file again"
        )
    if family is not None:
        return f"{name} is a {family} file that is cut off or damaged ({error.strerror}); get the whole file again"
    if not local:
        return f"{name} cannot be opened ({error.strerror}); check the address"
    return f"{name} is not a video FFmpeg can read ({error.strerror}); give an mp4, mkv, webm, avi, mov or ts file"


def _best_video_stream(container: InputContainer, name: str) -> ContainerVideoStream:
    form = container.format.name
    # FFmpeg draws text files as pictures ("tty") and takes one picture for a video.
    if form == "tty" or form == "image2" or form.endswith("_pipe"):
        kind = "a text file" if form == "tty" else "a picture"
        raise InputError(f"{name} is {kind}, not a video; give an mp4, mkv, webm, avi, mov or ts file")
    videos = [each for each in container.streams.video if not int(getattr(each, "disposition", 0)) & _ATTACHED_PICTURE]
    if not videos:
        held = "only audio" if container.streams.audio else "no video stream"
        raise InputError(f"{name} holds {held}; give a file with pictures")
    return max(videos, key=lambda each: each.codec_context.width * each.codec_context.height)


def _is_whole(name: str) -> bool:
    """Whether the file is as long as its structure says; False where that says nothing."""
    size, stated = os.path.getsize(name), stated_size(Path(name))
    if stated is not None and size < stated:
        raise InputError(
            f"{name} is cut off: only {size} of its {stated} bytes are there; get the whole file again, "
            f"or keep what can be read with: ffmpeg -i {shlex.quote(name)} readable.mp4"
        )
    return stated is not None


def _first_pictures(container: InputContainer, stream: ContainerVideoStream) -> Iterator[av.VideoFrame]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            yield from packet.decode()
        except av.FFmpegError:
            continue  # a recording may begin between key frames; its first packets then fit nothing


def _describe(
    container: InputContainer,
    stream: ContainerVideoStream,
    first: av.VideoFrame,
    *,
    location: str,
    name: str,
    whole: bool,
    options: Mapping[str, str],
) -> VideoStream:
    time_base = stream.time_base or Fraction(1, av.time_base)
    origin = _origin(container, stream, first, time_base)
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    video_end = stated_end = None
    if container.format.name in _STATES_DURATION:
        video_end = _video_end(container, stream, time_base, origin)
        stated_end = video_end
        if stated_end is None:
            stated_end = _container_seconds(container, origin if _is_matroska(container) else Fraction(0))
    return VideoStream(
        location=location,
        name=name,
        index=stream.index,
        time_base=time_base,
        origin=origin,
        frame_step=1 / Fraction(rate),
        stated_end=stated_end,
        video_end=video_end,
        whole=whole,
        seekable=container.format.name in _SEEKABLE,
        options=options,
    )


def _origin(
    container: InputContainer, stream: ContainerVideoStream, first: av.VideoFrame, time_base: Fraction
) -> Fraction:
    if container.format.name == "avi" or container.start_time is None:
        # An AVI has no presentation times: FFmpeg counts from the first packet, with B-frames before the first
        # picture. Other files without a start time have a first picture all the same.
        return Fraction(0) if first.pts is None else first.pts * time_base
    start = Fraction(container.start_time, av.time_base)
    own = start if stream.start_time is None else stream.start_time * time_base
    return own if own - start <= _LEAD_IN else start


def _video_end(
    container: InputContainer, stream: ContainerVideoStream, time_base: Fraction, origin: Fraction
) -> float | None:
    """Where the header says the video ends, in seconds since `origin`; None where it does not say."""
    if _is_matroska(container):
        tag = stream.metadata.get("DURATION")
        if tag is not None:
            return _above_zero(_clock_seconds(tag) - origin)
        return None if container.streams.audio else _container_seconds(container, origin)
    if container.format.name == "avi" and stream.frames and stream.average_rate:
        # FFmpeg scales the duration of a cut file down; the header's count of frames is untouched.
        return float(stream.frames / stream.average_rate)
    if stream.duration is None:
        return None
    return _above_zero(((stream.start_time or 0) + stream.duration) * time_base - origin)


def _is_matroska(container: InputContainer) -> bool:
    """Matroska counts its durations from timestamp 0, wherever the stream begins."""
    return container.format.name == "matroska,webm"


def _container_seconds(container: InputContainer, origin: Fraction = Fraction(0)) -> float | None:
    return None if container.duration is None else _above_zero(Fraction(container.duration, av.time_base) - origin)


def _above_zero(seconds: Fraction) -> float | None:
    return float(seconds) if seconds > 0 else None


def _clock_seconds(clock: str) -> Fraction:
    """Seconds of "H:M:S.fraction"; 0 for anything else."""
    try:
        hours, minutes, seconds = clock.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)
    except ValueError:
        return Fraction(0)
