"""A question in, an answer and the captions it rests on out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rlivs.backbones import Backbone
from rlivs.config import PipelineConfig
from rlivs.decoding import TextStream, decode_text, generate_greedily
from rlivs.errors import InputError
from rlivs.memory.embedders import Embedder
from rlivs.memory.retrieval import select_captions
from rlivs.memory.store import Caption
from rlivs.times import format_time


@dataclass(frozen=True)
class Answer:
    """An answer's text and its citations: the captions that were in its prompt, in order of time.

    `at` is the moment of the question in seconds of the stream: no caption that ended later was used.
    """

    question: str
    text: str
    at: float
    citations: tuple[Caption, ...]


def caption_line(start: float, end: float, text: str) -> str:
    """A caption as it stands in an answer's prompt."""
    return f"[{format_time(start)}-{format_time(end)}] {text}"


def check_question(question: str) -> str:
    """The question with its white space evened out. Raises InputError when nothing is left."""
    evened = " ".join(question.split())
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


def answer_question(
    backbone: Backbone,
    embedder: Embedder,
    config: PipelineConfig,
    question: str,
    at: float,
    captions: Sequence[Caption],
    embeddings: np.ndarray,
    on_text: Callable[[str], None] | None = None,
) -> Answer:
    """Answer from captions (section 3.3): MMR over `embeddings` `[n, d]`, budget, chronological order, greedy text.

    `captions` must already be those that ended by `at`. Raises InputError for an empty question or no caption.
    """
    question = check_question(question)
    if not captions:
        raise InputError(f"nothing had been captioned by {format_time(at)}; ask about a later moment")
    chosen = select_captions(
        captions,
        embeddings,
        embedder.embed([question])[0],
        budget_tokens=captions_budget(backbone, config, question),
        lambda_=config.mmr_lambda,
        cost=lambda caption: caption.num_tokens,
    )
    lines = "\n".join(caption_line(c.start, c.end, c.text) for c in chosen)
    prompt = backbone.text_prompt(config.answer_prompt.format(captions=lines, question=question))
    stream = TextStream(backbone.tokenizer, on_text) if on_text else None
    room = min(config.max_answer_tokens, backbone.max_positions - prompt.length)
    ids = generate_greedily(backbone, prompt, room, stream)
    if stream is not None:
        stream.close()
    return Answer(
        question=question,
        text=decode_text(backbone.tokenizer, ids[0].tolist()),
        at=at,
        citations=tuple(chosen),
    )
