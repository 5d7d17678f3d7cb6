"""One model, many streams: what a server or a live view talks to."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from types import TracebackType

import numpy as np

from rlivs.errors import InputError
from rlivs.streaming.answering import Answer
from rlivs.streaming.engine import StreamingVideoQA
from rlivs.streaming.overlay import LatestFrame, Overlay
from rlivs.streaming.recent_frames import AnswerFrom
from rlivs.streaming.service_events import Event, Subscription
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
        self._streams: dict[str, ServiceStream] = {}
        self._lock = RLock()
        self._closed = False

    def create(self, stream: str, *, source: str = "", resume: bool = False) -> StreamStatus:
        """Open a stream, new or, with `resume`, continued where it stopped; see `StreamingVideoQA.open`.

        Raises InputError if the name is taken, or what is resumed was made with other options or is open already.
        """
        with self._lock:
            self._check_open()
            known = self._streams.get(stream)
            if known is not None and known.open:
                raise InputError(f"stream '{stream}' is open already; attach to it, or choose another name")
            session = self._engine.open(stream, source=source, resume=resume)
            if known is not None:
                known.close()
            source = source or self._engine.store.stream(stream).source
            self._streams[stream] = ServiceStream(
                session, self._engine.store, self._turns, source=source, open=True, retention=self._retention
            )
            self._turns.add(self._streams[stream])
            return self._streams[stream].status()

    def delete(self, stream: str) -> None:
        """Stop a stream and delete all that is remembered of it."""
        with self._lock:
            self._find(stream).close()
            del self._streams[stream]
            self._engine.store.delete_stream(stream)

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
        session = self._find(stream).session
        job = AnswerJob(lambda put: session.ask_steps(question, at, answer_from=answer_from, on_text=put))
        self._turns.answer(job)
        return job.wait(timeout, on_text)

    def subscribe(self, stream: str, after: int = -1) -> Subscription:
        """The stream's events with serial numbers above `after`: those of the past from the store, then new ones."""
        return Subscription(self._find(stream).notices, after)

    def status(self, stream: str) -> StreamStatus:
        return self._find(stream).status()

    def streams(self) -> list[StreamStatus]:
        """Every stream of the memory, open or not, in the order they were created."""
        return [self.status(info.stream) for info in self._engine.store.streams()]

    def latest_frame(self, stream: str) -> LatestFrame | None:
        """The newest frame that came, and where the newest caption looked; None before the first."""
        return self._find(stream).latest_frame()

    def close(self) -> None:
        """Stop sources, streams and the model's thread. Answers under way raise ServiceClosed."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for stream in self._streams.values():
                stream.close()
            self._turns.close()

    def __enter__(self) -> StreamService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ServiceClosed("the service is closed")

    def _find(self, stream: str) -> ServiceStream:
        """The stream; one that is in the memory only can be asked and looked at. Raises InputError if unknown."""
        with self._lock:
            self._check_open()
            if stream not in self._streams:
                session = self._engine.recall(stream)
                source = self._engine.store.stream(stream).source
                self._streams[stream] = ServiceStream(
                    session, self._engine.store, self._turns, source=source, open=False, retention=self._retention
                )
            return self._streams[stream]

    def _find_open(self, stream: str) -> ServiceStream:
        found = self._find(stream)
        if not found.open:
            raise InputError(f"stream '{stream}' is not open; create it with resume=True to continue it")
        return found
