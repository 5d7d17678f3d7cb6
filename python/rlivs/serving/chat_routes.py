"""`/v1/chat/completions` and `/v1/models`: any OpenAI client can ask about a video."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from rlivs.errors import InputError
from rlivs.serving.answers import answer, check_question_length, whole_answer
from rlivs.serving.chat_schemas import (
    ChatCompletion,
    ChatRequest,
    Choice,
    ModelCard,
    ModelList,
    ReplyMessage,
    Usage,
    chunk,
    question_of,
    video_of,
)
from rlivs.serving.refusals import Refusal, error_body
from rlivs.serving.schemas import citations
from rlivs.serving.served import Served, served
from rlivs.serving.sse import EventStream, sse
from rlivs.serving.stream_routes import ERRORS

Shared = Annotated[Served, Depends(served)]

router = APIRouter(prefix="/v1", responses=ERRORS, tags=["openai"])


@router.get("/models")
def list_models(shared: Shared) -> ModelList:
    """The one model that is served."""
    return ModelList(data=[ModelCard(id=shared.model)])


@router.post("/chat/completions", responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}})
async def chat_completions(request: ChatRequest, shared: Shared) -> ChatCompletion:
    """Answer the last user message about the video its `video_url` names.

    A film is captioned when it is first asked about, and remembered. Decoding is greedy: sampling options are ignored.
    """
    video = video_of(request.messages)
    if video is None:
        raise Refusal(
            "no video is named; add {'type': 'video_url', 'video_url': {'url': ...}} to the user's message",
            422,
            "no_video",
        )
    question = check_question_length(question_of(request.messages), shared.settings.max_question_length)
    stream = await shared.films.stream_of(video)
    name, created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
    options: dict[str, Any] = {"at": request.at, "answer_from": request.answer_from}
    if not request.stream:
        given = await whole_answer(shared, stream, question, **options)
        message = ReplyMessage(content=given.text, citations=citations(given))
        return ChatCompletion(
            id=name, created=created, model=shared.model, choices=[Choice(message=message)], usage=usage(shared, given)
        )
    with_usage = request.stream_options is not None and request.stream_options.include_usage

    async def events() -> AsyncIterator[str]:
        def piece(delta: dict[str, Any], finish: str | None = None) -> str:
            choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
            return sse(chunk(name, created, shared.model, [choice]))

        yield piece({"role": "assistant", "content": ""})
        try:
            async for item in answer(shared, stream, question, **options):
                if isinstance(item, str):
                    yield piece({"content": item})
                    continue
                yield piece({"citations": [cited.model_dump() for cited in citations(item)]}, "stop")
                counted = usage(shared, item)
                if with_usage and counted is not None:
                    yield sse(chunk(name, created, shared.model, [], usage=counted.model_dump()))
        except InputError as error:
            yield sse(error_body(str(error), getattr(error, "status", 400)))
        yield sse("[DONE]")

    return EventStream(events())  # type: ignore[return-value]


def usage(shared: Served, given: Any) -> Usage | None:
    """Counted by the model's own tokenizer; None where there is none."""
    if shared.count_tokens is None:
        return None
    asked = shared.count_tokens(given.question) + sum(caption.num_tokens for caption in given.citations)
    said = shared.count_tokens(given.text)
    return Usage(prompt_tokens=asked, completion_tokens=said, total_tokens=asked + said)
