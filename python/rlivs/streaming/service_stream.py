"""One stream of the service: frames in, clips waiting, captions out."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Condition, Lock, Thread
from typing import Any

import numpy as np

from rlivs.errors import InputError
from rlivs.memory.store import CaptionStore
from rlivs.streaming.captioning import CaptionedClip
from rlivs.streaming.overlay import LatestFrame, Overlay
from rlivs.streaming.service_events import Notices
from rlivs.streaming.service_turns import ModelThread
from rlivs.streaming.session import Session, check_push, process_together
from rlivs.video import DecodedFrame, Frame, VideoClip
from rlivs.video.clip_builder import ClipBuilder
from rlivs.video.live import OVERLOAD, Gap, Source, SourceStatus

# Clips of a live stream that may wait for the model, one being filled beside them.
WAITING_CLIPS = 2
# Seconds over which tokens a second are counted.
RATE_WINDOW = 30.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StreamStatus:
    """A stream at a glance.

    state: "stored" (in memory, not open), "idle" (open, nothing has come), "connecting", "running", "reconnecting",
    "finishing" (its source has ended, clips are waiting), "ended", "failed". clips: captioned so far. lag_s: from the
    end of the newest caption to the newest frame. frames_dropped: decoded frames that were not taken in time, and
    sampled ones of clips that were not. tokens_per_s: of captions, over the last 30 s. memory_bytes: visual memory,
    embeddings and waiting frames. epoch: the Unix time of second 0 where moments are told by the wall clock.
    """

    stream: str
    source: str
    state: str
    clips: int
    lag_s: float
    frames_dropped: int
    reconnects: int
    tokens_per_s: float
    memory_bytes: int
    last_error: str | None
    epoch: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Retention:
    """What is kept of a stream: the newest `keep_last` captions, those of the last `keep_seconds`. None: all."""

    keep_last: int | None = None
    keep_seconds: float | None = None


class ServiceStream:
    """Frames come from a source's thread or from `push`; clips are taken by the model's thread."""

    def __init__(
        self,
        session: Session,
        store: CaptionStore,
        turns: ModelThread[ServiceStream],
        *,
        source: str,
        retention: Retention,
    ) -> None:
        self.name = session.name
        self.session = session
        self.notices = Notices(session.name, store)
        self.source_name = source
        self._store, self._turns, self._retention = store, turns, retention
        self._changed = Condition()
        self._waiting: deque[VideoClip | Gap] = deque()
        self._builder = self._new_builder(hold_back=False)
        self._source: Source | None = None
        self._thread: Thread | None = None
        self._stopping = False
        self._past_dropped = 0  # of sources that are gone, and of clips
        self._past_reconnects = 0
        self._last_error: str | None = None
        self._failed = False
        self._ended = False
        self._working = False
        self._frames = Lock()
        self._newest: Frame | DecodedFrame | None = None
        self._overlay: Overlay | None = None
        self._rates: tuple[tuple[float, int], ...] = ()
        self._clips = session.next_clip
        self._last_end = store.last_end(session.name)

    # Frames in

    def attach(self, source: Source) -> None:
        """Read `source` in a thread until it ends or `detach`.

        Raises InputError while another is attached, and for another file than the one captioned so far.
        """
        self._check_same_file(source)
        with self._changed:
            if self._thread is not None and self._thread.is_alive():
                raise InputError(f"stream '{self.name}' is being read from {self.source_name}; detach that first")
            if self._source is not None:
                self._forget_source()
            self._source, self.source_name = source, source.name
            self._stopping = self._ended = self._failed = False
            self._last_error = None
            self._builder = self._new_builder(hold_back=not source.live)
            self._thread = Thread(target=self._read, args=(source,), name=f"read {self.name}", daemon=True)
            self._thread.start()
        self._tell_status()

    def _check_same_file(self, source: Source) -> None:
        """A file is continued where its captions end: of another one the beginning would be skipped in silence."""
        known = Path(self._store.stream(self.name).source)
        both = not source.live and self._last_end > 0 and known.is_file() and Path(source.name).is_file()
        if both and not known.samefile(source.name):
            raise InputError(
                f"stream '{self.name}' was made from {known}, not {source.name}; give it that, or make another stream"
            )

    def detach(self, *, keep_waiting: bool = True) -> None:
        """Stop reading. Frames that have come are captioned still, unless `keep_waiting` is False."""
        source, thread = self._source, self._thread
        with self._changed:
            if not keep_waiting:
                self._stopping = True
                self._waiting.clear()
            self._changed.notify_all()
        if source is not None:
            source.close()
        if thread is not None:
            thread.join()
        elif keep_waiting:
            self._cut(wait=True)

    def push(self, image: np.ndarray, time: float) -> None:
        """Take one frame; waits while clips are waiting. Raises InputError when time runs backwards."""
        if self._thread is not None and self._thread.is_alive():
            raise InputError(f"stream '{self.name}' is being read from {self.source_name}; detach that first")
        check_push(time, self._builder.next_time)
        if self._newest is not None and time < self._newest.time:
            raise InputError(
                f"a frame at {time:.3f} s came after one at {self._newest.time:.3f} s; give them in order of time"
            )
        self.session.comes_now(time)
        self._take(Frame(image, time), wait=True)

    def _read(self, source: Source) -> None:
        state = None
        offset = 0.0
        first = True
        try:
            for item in source.frames(self._builder.next_time):
                if self._stopping:
                    return
                if isinstance(item, SourceStatus):
                    state = item.state
                    self._tell_status()
                    continue
                if first and source.live:
                    offset = self._place_live()
                    first = False
                if isinstance(item, Gap):
                    self._gap(replace(item, start=item.start + offset, end=item.end + offset))
                else:
                    self._take(item.later(offset) if offset else item, wait=not source.live)
                if source.status().state != state:
                    state = source.status().state
                    self._tell_status()
        except InputError as error:
            self._fail(str(error))
        except Exception as error:
            _log.exception("reading %s failed", source.name)
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            try:
                if not self._stopping:
                    self._cut(wait=True)
            finally:
                self._ended = True
                self._turns.wake()
                self._tell_status()

    def _place_live(self) -> float:
        """Where in the stream's time a live source begins: now, by the clock, after what there is."""
        now, epoch = time.time(), self._store.epoch(self.name)
        if epoch is None:
            epoch = now - self._last_end
            self._store.set_epoch(self.name, epoch)
        begin = max(now - epoch, self._last_end)
        if begin > self._last_end:
            self._put(Gap(self._last_end, begin, "not watched"))
            self._builder.skip()
        return begin

    def _gap(self, gap: Gap) -> None:
        self._tell_status()
        if gap.reason == OVERLOAD and gap.end - gap.start < 1 / self.session.config.fps:
            return  # no sample was missed; the frames are counted
        self._cut(wait=False)
        self._put(gap)

    def _cut(self, *, wait: bool) -> None:
        with self._frames:
            samples, clips = self._builder.cut()
        self._hand_over(samples, clips, wait=wait)

    def _take(self, frame: Frame | DecodedFrame, *, wait: bool) -> None:
        with self._frames:
            samples, clips = self._builder.push(frame)
            self._newest = frame
        self._hand_over(samples, clips, wait=wait)

    def _hand_over(self, samples: list[Frame], clips: Iterator[VideoClip], *, wait: bool) -> None:
        for sample in samples:
            self.session.recent.add(sample)
        for clip in clips:
            self._put(clip, wait=wait)

    def _put(self, item: VideoClip | Gap, *, wait: bool = False) -> None:
        dropped = None
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._stopping or self._num_waiting() < WAITING_CLIPS)
            elif isinstance(item, VideoClip) and self._num_waiting() >= WAITING_CLIPS:
                dropped = self._drop_oldest()
            if not self._stopping:
                self._waiting.append(item)
        if dropped is not None:
            self._past_dropped += len(dropped.frames)
            self.notices.tell("dropped", {"start": dropped.start, "end": dropped.end, "frames": len(dropped.frames)})
        self._turns.wake()

    def _drop_oldest(self) -> VideoClip:
        """The clip that waited longest becomes a gap, in its place, one with the gap before it."""
        items = list(self._waiting)
        index = next(i for i, item in enumerate(items) if isinstance(item, VideoClip))
        clip = items[index]
        assert isinstance(clip, VideoClip)
        before = items[index - 1] if index else None
        if isinstance(before, Gap) and before.reason == OVERLOAD and math.isclose(before.end, clip.start):
            items[index - 1 : index + 1] = [replace(before, end=clip.end)]
        else:
            items[index] = Gap(clip.start, clip.end, OVERLOAD)
        self._waiting = deque(items)
        return clip

    def _num_waiting(self) -> int:
        return sum(isinstance(item, VideoClip) for item in self._waiting)

    # Captions out, in the model's thread

    def has_work(self) -> bool:
        return bool(self._waiting)

    def take(self) -> VideoClip | None:
        """Commit the gaps that come first; the clip after them, whose turn it is now."""
        while (item := self._next_item()) is not None:
            if isinstance(item, VideoClip):
                return replace(item, index=self._clips)
            try:
                self._commit_gap(item)
            except Exception as error:
                self._report(error)
                break
        self._rest()
        return None

    def _next_item(self) -> VideoClip | Gap | None:
        with self._changed:
            if not self._waiting:
                return None
            self._working = True
            self._changed.notify_all()
            return self._waiting.popleft()

    def finish(self, clip: VideoClip, outcome: CaptionedClip | Exception) -> None:
        """What became of the clip."""
        if not isinstance(outcome, Exception):
            try:
                self._captioned(clip, outcome)
            except Exception as error:  # the clip is in memory; what is too old goes after the next one
                self._report(error)
        if isinstance(outcome, Exception):
            self._report(outcome)
            if isinstance(outcome, InputError) and self._source is not None and not self._source.live:
                self._break_off()
            else:
                self._lose(clip)
        self._rest()

    def _rest(self) -> None:
        self._working = False
        if self._ended and not self._waiting:
            self._tell_status()

    def _report(self, error: Exception) -> None:
        if not isinstance(error, InputError):
            _log.error("a clip of stream %s failed", self.name, exc_info=error)
        self._last_error = str(error) or type(error).__name__
        self.notices.tell("error", {"message": self._last_error})

    def _captioned(self, clip: VideoClip, result: CaptionedClip) -> None:
        self._clips, self._last_end = result.index + 1, result.end
        now = time.monotonic()
        recent = [(moment, tokens) for moment, tokens in self._rates if moment >= now - RATE_WINDOW]
        self._rates = (*recent, (now, result.num_caption_tokens))
        self._overlay = Overlay.of_last_frame(result, result.scores, clip.frames, clip.times)
        if not self._failed:
            self._last_error = None
        self.notices.committed()
        self._prune()
        self._tell_status()

    def _commit_gap(self, gap: Gap) -> None:
        self._store.add_gap(self.name, gap.start, gap.end, gap.reason)
        self._last_end = max(self._last_end, gap.end)
        self.notices.committed()

    def _lose(self, clip: VideoClip) -> None:
        """A clip that could not be captioned: the next one may, so the stream goes on."""
        self._past_dropped += len(clip.frames)
        try:
            self._commit_gap(Gap(clip.start, clip.end, f"error: {self._last_error}"))
        except InputError as error:  # the disk is full, say
            self._last_error = str(error)

    def _break_off(self) -> None:
        """Nothing can be stored now (the disk is full, say): a file can wait, and is continued from this clip."""
        assert self._source is not None
        with self._changed:
            self._failed = self._stopping = True
            self._waiting.clear()
            self._changed.notify_all()
        self._source.close()

    def _prune(self) -> None:
        keep = self._retention
        if keep.keep_last is not None or keep.keep_seconds is not None:
            before = None if keep.keep_seconds is None else self._last_end - keep.keep_seconds
            self._store.prune(self.name, keep_last=keep.keep_last, ended_before=before)

    # Looking at it

    def status(self) -> StreamStatus:
        source = self._source.status() if self._source is not None else None
        newest = self._newest
        return StreamStatus(
            stream=self.name,
            source=self.source_name,
            state=self._state(),
            clips=self._clips,
            lag_s=max(0.0, newest.time - self._last_end) if newest is not None else 0.0,
            frames_dropped=self._past_dropped + (source.frames_dropped if source else 0),
            reconnects=self._past_reconnects + (source.reconnects if source else 0),
            tokens_per_s=self._tokens_per_second(),
            memory_bytes=self._memory_bytes(),
            last_error=self._last_error or (source.error if source else None),
            epoch=self.session.clock.epoch,
        )

    def latest_frame(self) -> LatestFrame | None:
        with self._frames:
            if self._newest is None:
                return None
            return LatestFrame(self._newest.image, self._newest.time, self._overlay)

    def close(self) -> None:
        """Stop at once; what is waiting is lost, what was announced is not."""
        self.detach(keep_waiting=False)
        self._turns.remove(self)
        self.notices.close()

    def _state(self) -> str:
        if self._source is None:
            return "idle" if self._newest is None else "running"
        if self._ended and not (self._waiting or self._working):
            return "failed" if self._failed else "ended"
        if self._ended or self._failed:
            return "finishing"
        state = self._source.status().state
        return "running" if state in ("ended", "closed") else state

    def _tokens_per_second(self) -> float:
        since = time.monotonic() - RATE_WINDOW
        return sum(tokens for moment, tokens in self._rates if moment >= since) / RATE_WINDOW

    def _memory_bytes(self) -> int:
        with self._changed:
            waiting = sum(item.frames.nbytes for item in self._waiting if isinstance(item, VideoClip))
        pending = {id(frame.image): frame.image.nbytes for frame in self._builder.pending}  # samples share pictures
        return self.session.visual_bytes + waiting + sum(pending.values())

    def _fail(self, message: str) -> None:
        self._failed, self._last_error = True, message
        self.notices.tell("error", {"message": message})

    def _forget_source(self) -> None:
        assert self._source is not None
        status = self._source.status()
        self._past_dropped += status.frames_dropped
        self._past_reconnects += status.reconnects

    def _tell_status(self) -> None:
        self.notices.tell("status", self.status().to_json())

    def _new_builder(self, *, hold_back: bool) -> ClipBuilder:
        config = self.session.config
        return ClipBuilder(
            config.fps, config.frames_per_clip, start=self._store.last_end(self.name), hold_back=hold_back
        )


def caption_streams(streams: list[ServiceStream], between_steps: Callable[[], None]) -> None:
    """Caption the clip that comes next in each of the streams, all of one engine, side by side."""
    taken = [(stream, clip) for stream in streams if (clip := stream.take()) is not None]
    if not taken:
        return
    outcomes = process_together([(stream.session, clip, None) for stream, clip in taken], between_steps)
    for (stream, clip), outcome in zip(taken, outcomes, strict=True):
        stream.finish(clip, outcome)
