"""The shapes of OpenAI's chat completions, as far as they make sense for questions about a video."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rlivs.serving.schemas import CitationOut
from rlivs.serving.service import AnswerFrom


class _Open(BaseModel):
    """Clients send many options of their own: what is not named here is ignored."""

    model_config = ConfigDict(extra="ignore")


class VideoUrl(_Open):
    url: str = Field(
        min_length=1,
        description="`stream:NAME`, a film under an allowed folder or at an allowed address, or data:video/...;base64,",
    )


class VideoPart(_Open):
    type: Literal["video_url"]
    video_url: VideoUrl


class TextPart(_Open):
    type: Literal["text"]
    text: str


Part = Annotated[VideoPart | TextPart, Field(discriminator="type")]


class ChatMessage(_Open):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None


class StreamOptions(_Open):
    include_usage: bool = False


class ChatRequest(_Open):
    model: str = Field(min_length=1, max_length=256)
    messages: list[ChatMessage] = Field(min_length=1, max_length=1024)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=1, description="one answer: decoding is greedy")
    at: float | None = Field(None, ge=0, le=1e9, allow_inf_nan=False, description="extension: moment of the question")
    answer_from: AnswerFrom = Field("memory", description="extension: what to answer from")


class Usage(BaseModel):
    """Tokens of the question and the cited captions, and of the answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ReplyMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    citations: list[CitationOut] = Field(description="extension: the captions the answer rests on")


class Choice(BaseModel):
    index: int = 0
    message: ReplyMessage
    finish_reason: Literal["stop"] = "stop"
    logprobs: None = None


class ChatCompletion(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | None = None


class ModelCard(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "rlivs"


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelCard]


def question_of(messages: list[ChatMessage]) -> str:
    """The text of the last user message: what is asked. Earlier turns are not read."""
    for message in reversed(messages):
        if message.role == "user":
            if isinstance(message.content, str):
                return message.content
            return "\n".join(part.text for part in message.content or [] if isinstance(part, TextPart))
    return ""


def video_of(messages: list[ChatMessage]) -> str | None:
    """The video that was named last, in any user message."""
    for message in reversed(messages):
        if message.role == "user" and isinstance(message.content, list):
            for part in reversed(message.content):
                if isinstance(part, VideoPart):
                    return part.video_url.url
    return None


def chunk(name: str, created: int, model: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """One piece of a streamed completion."""
    return {
        "id": name, "object": "chat.completion.chunk", "created": created, "model": model, "choices": choices, **more,
    }  # fmt: skip
