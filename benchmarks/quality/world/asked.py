"""A stream's questions: when each is asked, its one right answer, and when the evidence for it was on screen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .questions import Line, Question
from .script import CLIP_SECONDS, Stream
from .stream_questions import CLIP_KINDS, KINDS, about_clip, once, sample_question
from .streams import NAMES
from .truth import ClipTruth

EARLIEST = 6  # clips that must have ended before a question is asked


@dataclass(frozen=True)
class Asked:
    """A question at a moment; `evidence` is its span in seconds, the whole stream so far for what never was."""

    kind: str
    text: str
    answer: str
    at: float
    evidence: tuple[float, float]


def truth_lines(truths: list[ClipTruth]) -> list[Line]:
    """What a perfect memory would hold."""
    return [Line(i * CLIP_SECONDS, (i + 1) * CLIP_SECONDS, truth.things) for i, truth in enumerate(truths)]


def names_near(stream: Stream, clip: int) -> set[str]:
    """Every name that may be on screen in a clip, told or not."""
    start, end = clip * CLIP_SECONDS, (clip + 1) * CLIP_SECONDS
    return {a.name for shot in stream.shots if shot.start < end and shot.end > start for a in shot.actors}


def ask_stream(stream: Stream, truths: list[ClipTruth], seed: int, each: int) -> list[Asked]:
    """Up to `each` questions of every kind about the stream, at random moments after `EARLIEST` clips."""
    lines, near = truth_lines(truths), [names_near(stream, clip) for clip in range(stream.clips)]
    found: list[Asked] = []
    for number, kind in enumerate(KINDS):
        rng = np.random.default_rng((*stream.seed, seed, number))
        texts: set[tuple[str, float]] = set()
        for _ in range(6 * each):
            if len(texts) == each:
                break
            ended = int(rng.integers(min(EARLIEST, stream.clips), stream.clips + 1))
            question = sample_question(rng, lines[:ended], kind, near[:ended])
            if question is None or (question.text, ended) in texts:
                continue
            texts.add((question.text, ended))
            span = _evidence(question, lines[:ended])
            found.append(Asked(kind, question.text, question.answer, ended * CLIP_SECONDS, span))
    return found


def _evidence(question: Question, lines: list[Line]) -> tuple[float, float]:
    if question.line < 0:
        if question.kind != "order":
            return lines[0].start, lines[-1].end
        words = question.text.rstrip("?").split()
        single = once(lines)
        at = sorted(single[name][0] for name in (" ".join(words[2:4]), " ".join(words[7:9])))
        return lines[at[0]].start, lines[at[1]].end
    first = question.line - (question.kind == "before")
    last = question.line + (question.kind == "after")
    return lines[first].start, lines[last].end


def ask_clip(stream: Stream, truth: ClipTruth, clip: int, seed: int) -> list[Asked]:
    """One question of every kind about what a clip itself shows."""
    near = names_near(stream, clip)
    elsewhere = tuple(name for name in NAMES if name not in near)
    span = (clip * CLIP_SECONDS, (clip + 1) * CLIP_SECONDS)
    found = []
    for number, kind in enumerate(CLIP_KINDS):
        rng = np.random.default_rng((*stream.seed, seed, clip, number))
        for _ in range(8):
            question = about_clip(rng, kind, truth.seen_things, elsewhere)
            if question is not None:
                found.append(Asked(kind, question.text, question.answer, span[1], span))
                break
    return found
