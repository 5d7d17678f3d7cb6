"""A question in, an answer and the captions it rests on out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np

from rlivs.backbones import Backbone
from rlivs.backbones.protocol import Prompt
from rlivs.clock import COUNTED, Clock
from rlivs.config import PipelineConfig
from rlivs.decoding import TextStream, decode_text, greedy_tokens
from rlivs.errors import InputError
from rlivs.memory.embedders import Embedder
from rlivs.memory.named_times import spans_in
from rlivs.memory.retrieval import captions_around, select_captions
from rlivs.memory.store import Caption
from rlivs.video import Frame, make_clips


@dataclass(frozen=True)
class Answer:
    """An answer's text and its citations: the captions that were in its prompt, in order of time.

    `at` is the moment of the question in seconds of the stream: no caption that ended later was used. An answer from
    the last frames has no citations; `frame_times` are the times of the frames it looked at, in seconds. `clock` is how
    the stream's moments are told.
    """

    question: str
    text: str
    at: float
    citations: tuple[Caption, ...]
    frame_times: tuple[float, ...] = ()
    clock: Clock = COUNTED


# An answer in the making: one step of the model each time it is resumed.
AnswerSteps = Generator[None, None, Answer]


def caption_line(start: float, end: float, text: str, clock: Clock = COUNTED) -> str:
    """A caption as it stands in an answer's prompt."""
    return f"[{clock.tell_span(start, end)}] {text}"


def check_question(question: str) -> str:
    """The question with its white space evened out. Raises InputError when nothing is left, and for what is no text."""
    evened = " ".join(question.split())
    try:
        evened.encode()
    except UnicodeEncodeError:
        raise InputError(f"the question {evened!r} is no UTF-8 text; write it in UTF-8") from None
    if not evened:
        raise InputError('the question is empty; ask something, such as "What happened at 0:40?"')
    return evened


def captions_budget(backbone: Backbone, config: PipelineConfig, question: str) -> int:
    """Tokens of captions that fit an answer's prompt: the configured budget, or what the model has room for."""
    frame = backbone.text_prompt(config.answer_prompt.format(captions="", question=question))
    room = backbone.max_positions - frame.length - config.max_answer_tokens
    if room < 1:
        raise InputError(
            f"question and answer take {frame.length + config.max_answer_tokens} tokens but the model holds "
            f"{backbone.max_positions}; shorten the question or lower max_answer_tokens"
        )
    return min(config.context_budget, room)


def answer_prompt(
    backbone: Backbone,
    embedder: Embedder,
    config: PipelineConfig,
    question: str,
    at: float,
    captions: Sequence[Caption],
    embeddings: np.ndarray,
    clock: Clock = COUNTED,
) -> tuple[Prompt, tuple[Caption, ...]]:
    """The prompt of an answer, and the captions in it, in order of time.

    All captions if they fit the budget; else first those of the times that the question names, as embeddings know no
    time, then the best by MMR over `embeddings` `[n, d]`. By the wall clock, the prompt says what time it is.
    """
    asked = question if clock.epoch is None else f"It is {clock.tell(at)}. {question}"
    chosen = select_captions(
        captions,
        embeddings,
        embedder.embed([question])[0],
        budget_tokens=captions_budget(backbone, config, asked),
        lambda_=config.mmr_lambda,
        first=captions_around(captions, spans_in(question, at, clock)),
    )
    if captions and not chosen:
        raise InputError(
            "no caption fits into the answer's prompt; raise context_budget, or lower max_answer_tokens or "
            "max_caption_tokens"
        )
    lines = "\n".join(caption_line(c.start, c.end, c.text, clock) for c in chosen)
    return backbone.text_prompt(config.answer_prompt.format(captions=lines, question=asked)), tuple(chosen)


def answer_steps(
    backbone: Backbone,
    embedder: Embedder,
    config: PipelineConfig,
    question: str,
    at: float,
    captions: Sequence[Caption],
    embeddings: np.ndarray,
    on_text: Callable[[str], None] | None = None,
    clock: Clock = COUNTED,
) -> AnswerSteps:
    """Answer from captions (section 3.3): choice over `embeddings` `[n, d]`, budget, chronological order, greedy text.

    Pauses after each step of the model. `captions` must already be those that ended by `at`. Raises InputError for an
    empty question or no caption.
    """
    question = check_question(question)
    if not captions:
        raise InputError(f"nothing had been captioned by {clock.tell(at)}; ask about a later moment")
    prompt, chosen = answer_prompt(backbone, embedder, config, question, at, captions, embeddings, clock)
    text = yield from _speak(backbone, prompt, config.max_answer_tokens, on_text)
    return Answer(question=question, text=text, at=at, citations=chosen, clock=clock)


def frames_answer_steps(
    backbone: Backbone,
    config: PipelineConfig,
    question: str,
    frames: Sequence[Frame],
    on_text: Callable[[str], None] | None = None,
    clock: Clock = COUNTED,
) -> AnswerSteps:
    """Answer from the last frames alone, without captions or memory, pausing after each step of the model.

    Frames of another size than the last one are resized to it. Raises InputError for an empty question, no frame, or
    frames that do not fit the model.
    """
    question = check_question(question)
    if not frames:
        raise InputError("no frame has come yet; ask again when the stream runs")
    [clip] = make_clips(frames, fps=config.fps, frames_per_clip=len(frames))
    visual = backbone.encode(clip.frames)
    yield
    prompt = backbone.caption_prompt(visual, (), question)
    if prompt.length >= backbone.max_positions:
        raise InputError(
            f"{len(frames)} frames take {prompt.length} tokens but the model holds {backbone.max_positions}; "
            "lower frames_per_clip"
        )
    text = yield from _speak(backbone, prompt, config.max_answer_tokens, on_text)
    return Answer(question, text, at=clip.times[-1], citations=(), frame_times=clip.times, clock=clock)


def run_to_end(steps: AnswerSteps) -> Answer:
    """All steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def _speak(
    backbone: Backbone, prompt: Prompt, max_new_tokens: int, on_text: Callable[[str], None] | None
) -> Generator[None, None, str]:
    stream = TextStream(backbone.tokenizer, on_text) if on_text else None
    ids: list[int] = []
    for token in greedy_tokens(backbone, prompt, min(max_new_tokens, backbone.max_positions - prompt.length)):
        ids.append(token)
        if stream is not None:
            stream(token)
        if token in backbone.eos_token_ids:
            break
        yield
    return decode_text(backbone.tokenizer, ids)
