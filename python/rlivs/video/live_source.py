"""A camera or network stream: decoded in a thread of its own, the newest frames kept, connected again when lost."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from threading import Condition, Thread

import av
from av.container import InputContainer
from av.video.reformatter import VideoReformatter

from rlivs.errors import InputError
from rlivs.video.frames import DecodedFrame, Frame
from rlivs.video.live_clock import LiveClock
from rlivs.video.stream_source import OVERLOAD, Gap, SourceStatus, State

# Decoded frames that may wait to be taken: little enough to hold, enough for a thread to be late.
WAITING_FRAMES = 32
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 15.0


class LiveSource:
    """Frames of anything FFmpeg opens that goes on by itself.

    The connection is made when `frames` is first read, and made again, after pauses from 0.25 to 15 s, whenever it
    breaks, ends, or is silent for `timeout` seconds; what was missed is a `Gap`. Frames that are not taken in time are
    dropped, the oldest first; dropped ones are counted.
    """

    live = True

    def __init__(
        self,
        location: str,
        *,
        name: str | None = None,
        format: str | None = None,
        options: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        give_up_after: float | None = None,
        waiting_frames: int = WAITING_FRAMES,
    ) -> None:
        """`format`, `options`: FFmpeg's. `give_up_after`: seconds without a frame after which the source fails."""
        self.name = name or location
        self._location, self._format, self._options = location, format, dict(options or {})
        self._timeout, self._give_up_after, self._capacity = timeout, give_up_after, waiting_frames
        self._changed = Condition()
        self._waiting: deque[DecodedFrame | Gap] = deque()
        self._missed: Gap | None = None  # before what waits
        self._status = SourceStatus()
        self._closed = False
        self._thread: Thread | None = None

    def frames(self, start: float = 0.0) -> Iterator[Frame | DecodedFrame | Gap | SourceStatus]:
        """Frames and gaps as they come, until `close`; the status whenever connecting fails for another reason than
        before. Raises InputError when the source is given up."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name=f"decode {self.name}", daemon=True)
            self._thread.start()
        told: str | None = None

        def has_news() -> bool:
            return self._status.state in ("failed", "closed") or self._status.error not in (None, told)

        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or has_news())
                item: DecodedFrame | Gap | SourceStatus
                if self._missed is not None:
                    item, self._missed = self._missed, None
                elif self._waiting:
                    item = self._waiting.popleft()
                else:
                    if self._status.state == "failed":
                        raise InputError(f"{self.name} was given up: {self._status.error}; check that it is sending")
                    if self._status.state == "closed":
                        return
                    item, told = self._status, self._status.error
                self._changed.notify_all()
            if isinstance(item, DecodedFrame):
                told = None
            yield item

    def status(self) -> SourceStatus:
        with self._changed:
            return self._status

    def close(self) -> None:
        """Stop. The thread ends within the time-out at the latest."""
        with self._changed:
            self._closed, self._missed = True, None
            self._waiting.clear()
            self._set_state("closed")

    def _run(self) -> None:
        clock = LiveClock()
        last_frame = time.monotonic()
        pause = FIRST_PAUSE
        newest: float | None = None  # stream time at which the newest frame ends
        lost_because = ""
        while True:
            connected = False
            try:
                with self._open() as container:
                    for frame in self._decode(container, clock):
                        if not connected:
                            self._connected(newest, frame.time, lost_because)
                            connected, pause = True, FIRST_PAUSE
                        newest, last_frame = frame.end, time.monotonic()
                        self._offer(frame, clock)
                        if self._closed:
                            return
                reason = "the sender ended the stream"
            except av.ExitError:  # the time-out's way of saying so
                reason = f"nothing came for {self._timeout:g} s"
            except InputError as error:
                reason = str(error)
            except (av.FFmpegError, OSError) as error:
                reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
            except Exception as error:  # a decoder's surprise must not end the stream
                reason = f"{type(error).__name__}: {error}"
            lost_because = reason if connected else lost_because
            silent = time.monotonic() - last_frame
            with self._changed:
                if self._closed:
                    return
                gave_up = self._give_up_after is not None and silent >= self._give_up_after
                state: State = "failed" if gave_up else "connecting" if newest is None else "reconnecting"
                self._set_state(state, reason)
                if gave_up or self._changed.wait_for(lambda: self._closed, timeout=pause):
                    return
            pause = FIRST_PAUSE if connected else min(2 * pause, LONGEST_PAUSE)

    def _open(self) -> InputContainer:
        return av.open(
            self._location,
            format=self._format,
            options=self._options,
            timeout=(self._timeout, self._timeout),
            metadata_errors="ignore",
        )

    def _decode(self, container: InputContainer, clock: LiveClock) -> Iterator[DecodedFrame]:
        if not container.streams.video:
            raise InputError("it sends no pictures")
        video = container.streams.video[0]
        video.thread_type = "SLICE"  # frame threads would hold frames back
        reformatter = VideoReformatter()
        step = float(1 / (video.average_rate or video.guessed_rate or 25))
        clock.connect()
        packets = container.demux(video)
        silent_since = time.monotonic()
        while not self._closed:
            packet = next(packets, None)
            if packet is None:
                return
            try:
                pictures = packet.decode()
            except av.FFmpegError:
                pictures = []  # joined between key frames, or a packet was lost: the next key frame mends it
            for picture in pictures:
                silent_since = time.monotonic()
                moment = clock.time_of(picture.time, silent_since)
                yield DecodedFrame(picture, moment, moment + step, reformatter)
            if time.monotonic() - silent_since > self._timeout:
                raise InputError(f"no picture came for {self._timeout:g} s")

    def _connected(self, newest: float | None, first: float, lost_because: str) -> None:
        with self._changed:
            if self._closed:
                return
            if newest is not None:
                self._waiting.append(Gap(min(newest, first), first, lost_because))
                self._status = replace(self._status, reconnects=self._status.reconnects + 1)
            self._set_state("running")

    def _offer(self, frame: DecodedFrame, clock: LiveClock) -> None:
        with self._changed:
            self._status = replace(self._status, frames_in=self._status.frames_in + 1)
            if len(self._waiting) >= self._capacity:
                # A sender that is ahead of the clock (a playlist's segment comes at once) is made to wait instead.
                ahead = frame.time - clock.elapsed(time.monotonic())
                self._changed.wait_for(
                    lambda: len(self._waiting) < self._capacity or self._closed, timeout=max(0, ahead)
                )
            if self._closed:
                return
            self._waiting.append(frame)
            while len(self._waiting) > self._capacity:
                self._drop_oldest()
            self._changed.notify_all()

    def _drop_oldest(self) -> None:
        """Drop what waited longest; a gap up to what follows says so."""
        dropped, following = self._waiting.popleft(), self._waiting[0]
        missed, end = self._missed, following.start if isinstance(following, Gap) else following.time
        if isinstance(dropped, Gap):
            self._missed = replace(dropped, start=missed.start if missed else dropped.start, end=end)
            return
        self._missed = replace(missed, end=end) if missed else Gap(dropped.time, end, OVERLOAD)
        self._status = replace(self._status, frames_dropped=self._status.frames_dropped + 1)

    def _set_state(self, state: State, error: str | None = None) -> None:
        self._status = replace(self._status, state=state, error=error)
        self._changed.notify_all()
