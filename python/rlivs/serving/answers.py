"""A question put to a stream from a coroutine, its answer handed on piece by piece."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from threading import Event, Thread
from typing import Any

from rlivs.serving.refusals import Refusal
from rlivs.serving.served import Served
from rlivs.serving.service import AnswerFrom


class _Abandoned(Exception):
    """Nobody waits for the answer any more."""


def check_question_length(question: str, limit: int) -> str:
    """The question, or Refusal when it is empty or longer than `limit` characters."""
    if not question.strip():
        raise Refusal('the question is empty; ask something, such as "What happened at 0:40?"', 422, "empty_question")
    if len(question) > limit:
        raise Refusal(f"the question is longer than {limit} characters; shorten it", 422, "question_too_long")
    return question


async def answer(
    served: Served, stream: str, question: str, *, at: float | None = None, answer_from: AnswerFrom = "memory"
) -> AsyncGenerator[Any, None]:
    """Pieces of text (`str`) as they come, then the `Answer`.

    Leaving the iteration, or the time-out, abandons the question: the model stops at the next piece. Raises Refusal
    when too many questions are waiting, on a time-out, and what the service raises.
    """
    check_question_length(question, served.settings.max_question_length)
    if not served.questions.acquire(blocking=False):
        served.metrics.questions.labels("refused").inc()
        raise Refusal("too many questions are waiting; ask again in a moment", 429, "too_many_questions")
    loop = asyncio.get_running_loop()
    news: asyncio.Queue[Any] = asyncio.Queue()
    abandoned = Event()

    def tell(item: Any) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(news.put_nowait, item)

    def on_text(piece: str) -> None:
        if abandoned.is_set():
            raise _Abandoned
        tell(piece)

    def work() -> None:
        try:
            timeout = served.settings.question_timeout
            tell(served.service.ask(stream, question, at=at, answer_from=answer_from, on_text=on_text, timeout=timeout))
        except _Abandoned:
            pass
        except TimeoutError:
            tell(Refusal("the answer took too long; ask again, or something shorter", 504, "timeout"))
        except Exception as error:
            tell(error)
        finally:
            served.questions.release()

    Thread(target=work, name="question", daemon=True).start()
    began, first = time.monotonic(), None
    outcome = "abandoned"
    try:
        while True:
            item = await news.get()
            if isinstance(item, Exception):
                outcome = "error"
                raise item
            if first is None:
                first = time.monotonic() - began
                served.metrics.first_text_seconds.observe(first)
            if isinstance(item, str):
                yield item
                continue
            outcome = "answered"
            served.metrics.answer_seconds.observe(time.monotonic() - began)
            yield item
            return
    finally:
        abandoned.set()
        served.metrics.questions.labels(outcome).inc()


async def whole_answer(served: Served, stream: str, question: str, **options: Any) -> Any:
    """The `Answer` alone."""
    async with aclosing(answer(served, stream, question, **options)) as coming:
        async for item in coming:
            if not isinstance(item, str):
                return item
    raise Refusal("the answer broke off; ask again", 503)
