"""One video stream of a file to pictures with their times, one at a time, from any time on."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain

import av
from av.container import InputContainer
from av.video.reformatter import VideoReformatter

from rlivs.errors import InputError
from rlivs.video.frames import DecodedFrame

_STEP_BACK = 10.0  # seconds: more than most groups of pictures last


@dataclass(frozen=True)
class VideoStream:
    """What decoding needs to know of a file's video stream. Times are in seconds since the start of the stream.

    location: what `open_container` takes; name: the file as its user calls it; index: of the stream in the
    container; time_base: seconds a timestamp unit; origin: the timestamp of time 0, in seconds;
    frame_step: the nominal time between frames (exact, as origin is); stated_end: where the header says the
    file ends (None where it does not say); video_end: the same of the video alone; whole: the file is as long
    as its structure says; seekable: seeking finds the key frame at or before a time; options: FFmpeg's.
    """

    location: str
    name: str
    index: int
    time_base: Fraction
    origin: Fraction
    frame_step: Fraction
    stated_end: float | None
    video_end: float | None
    whole: bool
    seekable: bool
    options: Mapping[str, str] = field(default_factory=dict)


def open_container(location: str, options: Mapping[str, str]) -> InputContainer:
    """Open a "file:..." location or a URL (given up after 30 silent seconds). Raises av.FFmpegError."""
    timeout = None if location.startswith("file:") else 30.0
    return av.open(location, options=dict(options), metadata_errors="ignore", timeout=timeout)


def decode_frames(stream: VideoStream, start: float = 0.0) -> Generator[DecodedFrame, None, None]:
    """Every frame in order of time, from the one shown at `start` seconds on.

    Starts at the key frame before `start` where the container can find it, else decodes everything before it.
    Raises InputError where decoding breaks off: at damaged data, or at an end far before the stated one.
    """
    # Where groups of pictures are open, the key frame found may be shown after pictures that `start` needs.
    for target in (start, start - _STEP_BACK):
        if target <= 0 or not stream.seekable:
            break
        with closing(_Decoding(stream, seek_to=target).frames()) as frames:
            first = next(frames, None)
            if first is not None and first.time <= start:
                yield from (frame for frame in chain([first], frames) if frame.end > start)
                return
    with closing(_Decoding(stream).frames()) as frames:
        yield from (frame for frame in frames if frame.end > start)


def check_end(stream: VideoStream) -> None:
    """Raise InputError if the file ends far before the end its header states; reads it, decodes nothing.

    Returns at once for files whose structure has shown them whole, and those that state no end.
    """
    if stream.whole or stream.stated_end is None:
        return
    reading = _Decoding(stream)
    with open_container(stream.location, stream.options) as container:
        try:
            for packet in container.demux(_audio_and_video(container)):
                reading.note_end(packet)
        except av.FFmpegError:
            pass  # what follows cannot be read: the same as an end
    reading.time = reading.packets_end
    reading.refuse_early_end(float(reading.packets_end))


def _audio_and_video(container: InputContainer) -> list[av.stream.Stream]:
    return [each for each in container.streams if each.type in ("video", "audio")]


class _Decoding:
    """One pass over the file: the state between packets."""

    def __init__(self, stream: VideoStream, seek_to: float | None = None) -> None:
        self.stream = stream
        self.seek_to = seek_to
        self.begun = False  # a usable picture has come
        self.time = Fraction(0)  # of the latest picture
        self.longest_step = stream.frame_step
        self.packets_end = Fraction(0)  # where the audio and video read so far end

    def frames(self) -> Generator[DecodedFrame, None, None]:
        """Pictures with their times; a picture ends when the next comes, so one is held back."""
        reformatter = VideoReformatter()
        held: av.VideoFrame | None = None
        for picture in self._pictures():
            time = self._time_of(picture)
            if held is not None:
                self.longest_step = max(self.longest_step, time - self.time)
                yield DecodedFrame(held, float(self.time), float(time), reformatter)
            held, self.time = picture, time
        if held is not None:
            end = self._end_of(held)
            yield DecodedFrame(held, float(self.time), end, reformatter)
            self.refuse_early_end(end)

    def _pictures(self) -> Iterator[av.VideoFrame]:
        stream = self.stream
        with open_container(stream.location, stream.options) as container:
            video = container.streams[stream.index]
            assert isinstance(video, av.VideoStream)
            video.thread_type = "AUTO"
            if self.seek_to is not None and not self._seek(container, video, self.seek_to):
                return
            packets = container.demux(_audio_and_video(container))
            while True:
                try:
                    packet = next(packets, None)
                    if packet is None:
                        return
                    self.note_end(packet)
                    pictures = packet.decode() if packet.stream_index == stream.index else []
                except av.FFmpegError as error:
                    if self.begun:
                        raise self._broken_off(f"its data is damaged there ({error.strerror})") from error
                    continue  # a recording may begin between key frames; its first packets then fit nothing
                for picture in pictures:
                    assert isinstance(picture, av.VideoFrame)
                    # After a seek, what is shown before the key frame lacks the pictures it depends on, and
                    # without a timestamp there is no telling where the seek has landed.
                    if self.seek_to is not None and not self.begun:
                        if not picture.key_frame:
                            continue
                        if picture.pts is None:
                            return
                    yield picture
                    self.begun = True

    def _seek(self, container: InputContainer, video: av.VideoStream, time: float) -> bool:
        try:
            container.seek(int((time + self.stream.origin) / self.stream.time_base), stream=video)
        except av.FFmpegError:  # a recording that was never closed has no index
            return False
        return True

    def note_end(self, packet: av.Packet) -> None:
        if packet.pts is not None and packet.time_base:
            end = (packet.pts + (packet.duration or 0)) * packet.time_base - self.stream.origin
            self.packets_end = max(self.packets_end, end)

    def _time_of(self, picture: av.VideoFrame) -> Fraction:
        following = self.time + self.stream.frame_step if self.begun else Fraction(0)
        if picture.pts is None:
            return following
        time = picture.pts * self.stream.time_base - self.stream.origin
        # Pictures come in the order they are shown: a timestamp that goes back is a fault or a new start
        # (two recordings joined), and the stream goes on at its nominal rate.
        return following if self.begun and time < self.time else time

    def _end_of(self, last: av.VideoFrame) -> float:
        stated = self.stream.video_end
        if stated is not None and stated > self.time and not self._ends_early(stated, float(self.time)):
            return stated
        duration = getattr(last, "duration", 0)  # PyAV below 15 does not tell
        return float(self.time + (duration * self.stream.time_base if duration else self.stream.frame_step))

    def _ends_early(self, stated: float, end: float) -> bool:
        gap = stated - max(end, float(self.packets_end))
        return not self.stream.whole and gap > max(1.0, 2 * float(self.longest_step))

    def refuse_early_end(self, end: float) -> None:
        stated = self.stream.stated_end
        if stated is not None and self._ends_early(stated, end):
            raise self._broken_off(f"the file is cut off, it should last {stated:.1f} s")

    def _broken_off(self, reason: str) -> InputError:
        name, reached = self.stream.name, f"{float(self.time):.1f}"
        return InputError(
            f"{name} can be read up to {reached} s only: {reason}; get the whole file again, "
            f"or keep what can be read with: ffmpeg -i {shlex.quote(name)} -t {reached} readable.mp4"
        )
