"""What the session routes take and give."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from rlivs.serving.addresses import without_password
from rlivs.serving.service import AnswerFrom

StreamName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", examples=["camera-1"])]
Moment = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False, description="seconds of the stream")]
Spec = Annotated[
    str,
    Field(min_length=1, max_length=2048, description="a file under an allowed folder, or an allowed address"),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewStream(_Strict):
    name: StreamName
    source: Spec | None = Field(None, description="watched from now on; without it, push frames or attach one later")
    resume: bool = Field(False, description="continue the stream if the memory knows it")


class NewSource(_Strict):
    source: Spec


class Question(_Strict):
    question: str = Field(min_length=1, examples=["What happened after the red car left?"])
    at: Moment | None = Field(None, description="only what had ended by then is used")
    answer_from: AnswerFrom = "memory"
    stream: bool = Field(False, description="answer as events: text, text, .., answer")


class StreamOut(BaseModel):
    stream: str
    source: str
    state: str
    clips: int
    lag_s: float | None
    frames_dropped: int
    reconnects: int
    tokens_per_s: float | None
    memory_bytes: int | None
    last_error: str | None
    epoch: float | None = Field(description="Unix time of second 0 where moments are told by the wall clock")

    @classmethod
    def of(cls, status: Any) -> StreamOut:
        values = {name: getattr(status, name) for name in cls.model_fields}
        return cls(**{**values, "state": str(status.state), "source": without_password(status.source)})


class StreamsOut(BaseModel):
    streams: list[StreamOut]


class CitationOut(BaseModel):
    index: int
    start: float
    end: float
    clock: list[str] | None = Field(None, description="start and end by the wall clock, ISO 8601, where told by it")
    text: str


class AnswerOut(BaseModel):
    question: str
    text: str
    at: float
    citations: list[CitationOut]

    @classmethod
    def of(cls, answer: Any) -> AnswerOut:
        return cls(question=answer.question, text=answer.text, at=answer.at, citations=citations(answer))


class OverlayOut(BaseModel):
    """What a caption attended to in one frame, on its grid of visual tokens.

    surroundings, outline: of the selected tokens, as SVG path data with one unit a token; heat: a data: URL of a PNG
    with one pixel a token; low, high: the scores that are its ends.
    """

    rows: int
    cols: int
    kept: int
    surroundings: str
    outline: str
    heat: str
    low: str
    high: str


class PictureOut(BaseModel):
    time: float
    width: int
    height: int
    image: str = Field(description="a data: URL of a JPEG")
    clip: int | None
    overlay: OverlayOut | None


class FrameTaken(BaseModel):
    time: float
    width: int
    height: int


class Health(BaseModel):
    status: str
    instance: str


def citations(answer: Any) -> list[CitationOut]:
    return [
        CitationOut(index=c.index, start=c.start, end=c.end, text=c.text, **answer.clock.stamps(c.start, c.end))
        for c in answer.citations
    ]
