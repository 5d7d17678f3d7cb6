"""One model, many streams: what a server or a live view talks to."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition
from types import TracebackType

import numpy as np

from rlivs.errors import InputError
from rlivs.memory.store import StreamInfo
from rlivs.streaming.answering import Answer
from rlivs.streaming.engine import StreamingVideoQA
from rlivs.streaming.overlay import LatestFrame, Overlay
from rlivs.streaming.recent_frames import AnswerFrom
from rlivs.streaming.service_events import Event, Notices, Subscription
from rlivs.streaming.service_stream import Retention, ServiceStream, StreamStatus, caption_streams
from rlivs.streaming.service_turns import AnswerJob, ModelThread, ServiceClosed
from rlivs.video.live import Source

__all__ = [
    "Event", "LatestFrame", "Overlay", "Retention", "ServiceClosed", "StreamService", "StreamStatus", "Subscription",
]  # fmt: skip


class StreamService:
    """Streams that are captioned and asked about at once, from any thread, all on one engine.

    service = StreamService(engine)
    service.create("door", source="rtsp://camera/door")
    service.attach("door", open_source("rtsp://camera/door"))
    service.ask("door", "Who came in?").text
    """

    def __init__(self, engine: StreamingVideoQA, *, retention: Retention | None = None) -> None:
        """`retention`: what is kept of each stream. The engine stays its owner's: closing the service leaves it."""
        self._engine = engine
        self._retention = retention or Retention()
        self._turns = ModelThread(caption_streams, engine.config.captions_at_once)
        self._streams: dict[str, ServiceStream] = {}  # those that are open
        self._stored: dict[str, Notices] = {}  # of those that are followed and not open
        self._leaving: set[str] = set()  # being deleted
        self._changed = Condition()
        self._closed = False

    def create(self, stream: str, *, source: str = "", resume: bool = False) -> StreamStatus:
        """Open a stream, new or, with `resume`, continued where it stopped; see `StreamingVideoQA.open`.

        Raises InputError if the name is taken, or what is resumed was made with other options or is open already.
        """
        with self._changed:
            self._check_open()
            self._check_stays(stream)
            if stream in self._streams:
                raise InputError(f"stream '{stream}' is open already; attach to it, or choose another name")
            session = self._engine.open(stream, source=source, resume=resume)
            self._end_following(stream)
            source = source or self._engine.store.stream(stream).source
            self._streams[stream] = ServiceStream(
                session, self._engine.store, self._turns, source=source, retention=self._retention
            )
            self._turns.add(self._streams[stream])
            return self._streams[stream].status()

    def delete(self, stream: str) -> None:
        """Stop a stream and delete all that is remembered of it; its name is taken until this returns.

        Waits for the read and the clip under way. Raises InputError for an unknown stream, or one being deleted.
        """
        with self._changed:
            self._find(stream)
            self._leaving.add(stream)
            opened = self._streams.pop(stream, None)
            self._end_following(stream)
        try:
            if opened is not None:
                opened.close()
            self._engine.store.delete_stream(stream)
        finally:
            with self._changed:
                self._leaving.discard(stream)
                self._changed.notify_all()

    def attach(self, stream: str, source: Source) -> None:
        """Read `source` in a thread of its own, until it ends or `detach`.

        A live source never waits for the model: clips it has no time for are dropped, counted, and marked as a gap.
        Any other source waits. Raises InputError for a stream that is not open or has a source already.
        """
        self._find_open(stream).attach(source)

    def push(self, stream: str, frame: np.ndarray, time: float) -> None:
        """Take one frame `[H, W, 3]` uint8 RGB shown from `time` (seconds, never decreasing) on.

        Returns once it is sampled; waits while two clips are waiting for the model, so that nothing is dropped.
        """
        self._find_open(stream).push(frame, time)

    def detach(self, stream: str) -> None:
        """Stop reading the source, or pushing. The frames that have come are captioned still, as a short clip."""
        self._find_open(stream).detach()

    def ask(
        self,
        stream: str,
        question: str,
        *,
        at: float | None = None,
        answer_from: AnswerFrom = "memory",
        on_text: Callable[[str], None] | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Answer a question while streams go on; see `Session.ask`. Waits for the answer, in the caller's thread.

        `on_text` is called in this thread with pieces of the text; what it raises is raised here and ends the answer.
        Raises InputError for a question that cannot be answered, TimeoutError after `timeout` seconds, ServiceClosed.
        """
        found = self._find(stream)
        session = found.session if isinstance(found, ServiceStream) else self._engine.recall(stream)
        job = AnswerJob(lambda put: session.ask_steps(question, at, answer_from=answer_from, on_text=put))
        self._turns.answer(job)
        return job.wait(timeout, on_text)

    def subscribe(self, stream: str, after: int = -1) -> Subscription:
        """The stream's events with serial numbers above `after`: those of the past from the store, then new ones."""
        with self._changed:
            found = self._find(stream)
            if isinstance(found, ServiceStream):
                notices = found.notices
            else:
                notices = self._stored.setdefault(stream, Notices(stream, self._engine.store))
            return Subscription(notices, after)

    def status(self, stream: str) -> StreamStatus:
        found = self._find(stream)
        return found.status() if isinstance(found, ServiceStream) else self._stored_status(found)

    def streams(self) -> list[StreamStatus]:
        """Every stream of the memory, open or not, in the order they were created."""
        store = self._engine.store
        with self._changed:
            self._check_open()
            known = [info for info in store.streams() if info.stream not in self._leaving]
            opened = dict(self._streams)
        found = []
        for info in known:
            try:
                stream = opened.get(info.stream)
                found.append(self._stored_status(info) if stream is None else stream.status())
            except InputError:
                if any(info.stream == each.stream for each in store.streams()):  # else it was deleted meanwhile
                    raise
        return found

    def latest_frame(self, stream: str) -> LatestFrame | None:
        """The newest frame that came, and where the newest caption looked; None before the first."""
        found = self._find(stream)
        return found.latest_frame() if isinstance(found, ServiceStream) else None

    def close(self) -> None:
        """Stop sources, streams and the model's thread.

        Answers under way raise ServiceClosed; streams that are being deleted are deleted.
        """
        with self._changed:
            if self._closed:
                return
            self._closed = True
        for stream in self._streams.values():
            stream.close()
        for notices in self._stored.values():
            notices.close()
        self._turns.close()
        with self._changed:
            self._changed.wait_for(lambda: not self._leaving)

    def __enter__(self) -> StreamService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ServiceClosed("the service is closed")

    def _check_stays(self, stream: str) -> None:
        if stream in self._leaving:
            raise InputError(f"stream '{stream}' is being deleted; wait until it is gone, or choose another name")

    def _find(self, stream: str) -> ServiceStream | StreamInfo:
        """The stream, or what the memory knows of one that is not open. Raises InputError if it is unknown.

        No session is made for it: its visual memory would stay, and one of another model cannot be opened.
        """
        with self._changed:
            self._check_open()
            self._check_stays(stream)
            return self._streams.get(stream) or self._engine.store.stream(stream)

    def _find_open(self, stream: str) -> ServiceStream:
        found = self._find(stream)
        if not isinstance(found, ServiceStream):
            raise InputError(f"stream '{stream}' is not open; create it with resume=True to continue it")
        return found

    def _end_following(self, stream: str) -> None:
        """The stream's followers are told that it is stored no longer: it was opened, or deleted."""
        notices = self._stored.pop(stream, None)
        if notices is not None:
            notices.close()

    def _stored_status(self, info: StreamInfo) -> StreamStatus:
        store, name = self._engine.store, info.stream
        return StreamStatus(
            stream=name,
            source=info.source,
            state="stored",
            clips=store.last_index(name) + 1,
            lag_s=0.0,
            frames_dropped=0,
            reconnects=0,
            tokens_per_s=0.0,
            memory_bytes=0,
            last_error=None,
            epoch=store.epoch(name) if info.settings.get("clock") else None,
        )
