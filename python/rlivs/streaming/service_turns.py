"""One thread for the model, and whose turn it is."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Condition, Thread
from typing import Generic, Protocol, TypeVar

from rlivs.streaming.answering import Answer, AnswerSteps

# Answers that are spoken side by side; more wait. Each holds a KV cache.
ANSWERS_AT_ONCE = 4

_log = logging.getLogger(__name__)


class ServiceClosed(RuntimeError):
    """The service was closed before the answer was finished."""


class ClipWork(Protocol):
    """A stream, as the model's thread sees it."""

    def has_work(self) -> bool: ...


Stream = TypeVar("Stream", bound=ClipWork)


class AnswerJob:
    """A question under way: made in the asking thread, spoken in the model's, waited for in the asking one."""

    def __init__(self, make_steps: Callable[[Callable[[str], None]], AnswerSteps]) -> None:
        """`make_steps` is given a function for the pieces of the text. What it raises is raised here."""
        self._messages: SimpleQueue[str | Answer | BaseException] = SimpleQueue()
        self._steps = make_steps(self._messages.put)
        self._cancelled = False

    def wait(self, timeout: float | None, on_text: Callable[[str], None] | None) -> Answer:
        """The answer. Raises what went wrong, and TimeoutError after `timeout` seconds; the answer then ends there."""
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
                message = self._messages.get(timeout=remaining)
                if isinstance(message, BaseException):
                    raise message
                if isinstance(message, Answer):
                    return message
                if on_text is not None:
                    on_text(message)
        except Empty:
            raise TimeoutError(f"no answer within {timeout:g} s") from None
        finally:
            self._cancelled = True

    def step(self) -> bool:
        """One step of the model; False when there is nothing more to do."""
        if self._cancelled:
            self._steps.close()
            return False
        try:
            next(self._steps)
            return True
        except StopIteration as end:
            self._messages.put(end.value)
        except Exception as error:
            self._messages.put(error)
        return False

    def refuse(self, error: Exception) -> None:
        self._messages.put(error)


class ModelThread(Generic[Stream]):
    """Runs the model for all streams and questions, in turns.

    Streams with a clip waiting are captioned one clip at a time, the one that was served longest ago first, up to
    `captions_at_once` of them side by side. Between two steps of a caption (a token, or a clip's encoding) each answer
    under way gets one step: so a question stops captions for one of its steps at a time, and waits for one step of a
    caption at most.
    """

    def __init__(self, caption: Callable[[list[Stream], Callable[[], None]], None], captions_at_once: int = 1) -> None:
        """`caption` captions a clip of each of some streams, and calls its second argument between steps."""
        self._caption, self._captions_at_once = caption, captions_at_once
        self._changed = Condition()
        self._streams: deque[Stream] = deque()
        self._answers: deque[AnswerJob] = deque()
        self._closed = False
        self._busy: list[Stream] = []
        self._thread = Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    def add(self, stream: Stream) -> None:
        with self._changed:
            self._streams.append(stream)
            self._changed.notify_all()

    def remove(self, stream: Stream) -> None:
        """Returns when the stream is not being worked on and will not be any more."""
        with self._changed:
            self._streams = deque(each for each in self._streams if each is not stream)
            self._changed.wait_for(lambda: not any(each is stream for each in self._busy))

    def wake(self) -> None:
        """A stream has got work."""
        with self._changed:
            self._changed.notify_all()

    def answer(self, job: AnswerJob) -> None:
        """Take a question up. Raises ServiceClosed after `close`."""
        with self._changed:
            if self._closed:
                raise ServiceClosed("the service is closed")
            self._answers.append(job)
            self._changed.notify_all()

    def close(self) -> None:
        """Finish the clip under way, refuse the answers, end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = []
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._closed or self._answers or self._next_streams())
                if self._closed:
                    break
                self._busy = self._next_streams()
                for stream in self._busy:
                    self._streams.remove(stream)
                    self._streams.append(stream)
            if not self._busy:
                self._step_answers()
            else:
                try:
                    self._caption(self._busy, self._step_answers)
                except Exception:  # a fault of this package: the other streams must go on
                    _log.exception("a stream's turn failed")
        self._refuse_answers()

    def _next_streams(self) -> list[Stream]:
        return list(islice((stream for stream in self._streams if stream.has_work()), self._captions_at_once))

    def _step_answers(self) -> None:
        """One step of each answer under way, the oldest questions first."""
        if self._closed:
            self._refuse_answers()
        for job in list(self._answers)[:ANSWERS_AT_ONCE]:
            if not job.step():
                with self._changed:
                    self._answers.remove(job)

    def _refuse_answers(self) -> None:
        with self._changed:
            jobs, self._answers = self._answers, deque()
        for job in jobs:
            job.refuse(ServiceClosed("the service was closed before the answer was finished"))
