"""The session routes: streams made, fed, followed, asked and deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.concurrency import run_in_threadpool

from rlivs.errors import InputError
from rlivs.serving.answers import answer, check_question_length, whole_answer
from rlivs.serving.follow import follow
from rlivs.serving.opening import open_stream
from rlivs.serving.pushed_frames import decode_frame
from rlivs.serving.refusals import ErrorBody, Refusal, error_body
from rlivs.serving.schemas import (
    AnswerOut,
    FrameTaken,
    NewSource,
    NewStream,
    PictureOut,
    Question,
    StreamOut,
    StreamsOut,
)
from rlivs.serving.served import Served, served
from rlivs.serving.sse import EventStream, sse

Name = Annotated[str, Path(max_length=256, description="the stream's name")]
Shared = Annotated[Served, Depends(served)]

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody} for status in (400, 401, 403, 404, 408, 409, 413, 415, 422, 429)
}
_EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}
_PICTURE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/jpeg", "image/png", "image/webp")
        },
    }
}

router = APIRouter(prefix="/api/streams", responses=ERRORS, tags=["streams"])


@router.get("")
def list_streams(shared: Shared) -> StreamsOut:
    """Every stream and how it stands."""
    return StreamsOut(streams=[StreamOut.of(status) for status in shared.service.streams()])


@router.post("", status_code=201)
def create_stream(new: NewStream, shared: Shared) -> StreamOut:
    """A new stream, or with `resume` one that goes on; with `source`, that is watched at once."""
    source = shared.door.open(new.source) if new.source is not None else None
    try:
        open_stream(shared.service, new.name, source, resume=new.resume, limit=shared.settings.max_streams)
    except BaseException:
        if source is not None:
            source.close()
        raise
    shared.pictures.watch(new.name)
    return StreamOut.of(shared.status_of(new.name))


@router.get("/{name}")
def read_stream(name: Name, shared: Shared) -> StreamOut:
    """How one stream stands."""
    return StreamOut.of(shared.status_of(name))


@router.delete("/{name}", status_code=204)
def delete_stream(name: Name, shared: Shared) -> None:
    """End a stream and forget it: captions, memory, pictures."""
    shared.status_of(name)
    shared.service.delete(name)
    shared.pictures.forget(name)


@router.put("/{name}/source")
def attach_source(name: Name, new: NewSource, shared: Shared) -> StreamOut:
    """Watch a file or an address from now on."""
    shared.status_of(name)
    source = shared.door.open(new.source)
    try:
        shared.service.attach(name, source)
    except BaseException:
        source.close()
        raise
    shared.pictures.watch(name)
    return StreamOut.of(shared.status_of(name))


@router.delete("/{name}/source", status_code=204)
def detach_source(name: Name, shared: Shared) -> None:
    """Watch no longer; the stream and its memory stay."""
    shared.status_of(name)
    shared.service.detach(name)


@router.post("/{name}/frames", status_code=202, openapi_extra=_PICTURE_BODY)
async def push_frame(
    name: Name,
    request: Request,
    shared: Shared,
    time: Annotated[float, Query(ge=0, le=1e9, allow_inf_nan=False, description="seconds, never decreasing")],
) -> FrameTaken:
    """One frame, a JPEG, PNG or WebP as the body, shown from `time` on."""
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > shared.settings.max_frame_bytes:
            raise Refusal(f"a frame takes at most {shared.settings.max_frame_bytes} bytes", 413, "frame_too_large")

    def push() -> FrameTaken:
        shared.status_of(name)
        frame = decode_frame(data, max_pixels=shared.settings.max_frame_pixels)
        shared.service.push(name, frame, time)
        return FrameTaken(time=time, width=frame.shape[1], height=frame.shape[0])

    # A push waits while clips wait for the model: those who push much must not take every thread of the server.
    if not shared.pushes.acquire(blocking=False):
        raise Refusal("frames come faster than they are captioned; send this one again later", 429, "too_many_frames")
    try:
        taken = await run_in_threadpool(push)
    finally:
        shared.pushes.release()
    shared.metrics.frames.inc()
    return taken


@router.get("/{name}/events", status_code=200, response_class=EventStream, responses=_EVENTS)
async def stream_events(
    name: Name,
    request: Request,
    shared: Shared,
    after: Annotated[int, Query(ge=-1, le=2**53, description="serial number of the last event known")] = -1,
) -> EventStream:
    """What happens, as server-sent events: first `hello`, then `caption`, `gap`, `dropped`, `status`, `error`, each
    with its serial number as id. `Last-Event-ID` counts as `after`."""
    last = request.headers.get("last-event-id", "")
    if last.isascii() and last.isdigit() and len(last) < 17:
        after = int(last)
    await run_in_threadpool(shared.status_of, name)
    return EventStream(follow(shared, name, after))


@router.get("/{name}/picture")
def read_picture(
    name: Name,
    shared: Shared,
    clip: Annotated[int | None, Query(ge=0, le=2**53, description="the last frame of this clip")] = None,
    newest: Annotated[bool, Query(description="the newest frame, which no caption has seen yet")] = False,
) -> PictureOut:
    """The last frame of the newest captioned clip, or of `clip`, with its scores and the tokens selected of it."""
    shared.status_of(name)
    picture = shared.pictures.now(name, newest=newest) if clip is None else shared.pictures.of_clip(name, clip)
    if picture is None:
        raise Refusal(
            "there is no picture yet" if clip is None else "that clip's picture is not kept", 404, "no_picture"
        )
    return picture


@router.post("/{name}/questions", responses=_EVENTS)
async def ask_question(name: Name, question: Question, shared: Shared) -> AnswerOut:
    """Ask. With `stream`, the answer comes as events: `text` {text} and, at the end, `answer` (or `error`)."""
    check_question_length(question.question, shared.settings.max_question_length)
    await run_in_threadpool(shared.status_of, name)
    options: dict[str, Any] = {"at": question.at, "answer_from": question.answer_from}
    if not question.stream:
        return AnswerOut.of(await whole_answer(shared, name, question.question, **options))

    async def events() -> AsyncIterator[str]:
        try:
            async for item in answer(shared, name, question.question, **options):
                if isinstance(item, str):
                    yield sse({"text": item}, event="text")
                else:
                    yield sse(AnswerOut.of(item).model_dump(), event="answer")
        except InputError as error:
            yield sse(error_body(str(error), getattr(error, "status", 400)), event="error")
        except Exception:
            yield sse(error_body("the server failed to answer; its log says why", 500), event="error")
            raise

    return EventStream(events())  # type: ignore[return-value]
