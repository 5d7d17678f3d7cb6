"""Videos in, questions at their moments, predictions out: the pipeline as a benchmark sees it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from os.path import isfile
from pathlib import Path
from typing import Any

from rlivs.backbones import Backbone
from rlivs.errors import InputError
from rlivs.evaluation.question import Question
from rlivs.evaluation.scoring import is_right, word_f1
from rlivs.streaming.ahead import clips_ahead
from rlivs.streaming.engine import StreamingVideoQA
from rlivs.streaming.recent_frames import AnswerFrom
from rlivs.streaming.session import Session
from rlivs.video import Frame, VideoClip, iter_clips

ENDINGS = ("", ".mp4", ".mkv", ".webm", ".avi", ".mov")


@dataclass(frozen=True)
class Prediction:
    """What was answered. way: as asked for; answered_from: as it was; cited: the captions' clips; seconds: it took.

    right: see `is_right`, None where the benchmark keeps its answers; f1: of open questions, see `word_f1`.
    """

    question: Question
    way: AnswerFrom
    text: str
    answered_from: AnswerFrom
    cited: tuple[int, ...]
    seconds: float

    @property
    def right(self) -> bool | None:
        question = self.question
        return None if question.answer is None else is_right(self.text, question.answer, question.choices)

    @property
    def f1(self) -> float | None:
        question = self.question
        return None if question.answer is None or question.choices else word_f1(self.text, question.answer)

    def to_json(self) -> dict[str, Any]:
        """One line of a file of predictions; `question`, `answer` and `pred` are the names that judges know."""
        return {
            **question_json(self.question),
            "way": self.way,
            "pred": self.text,
            "right": self.right,
            "f1": self.f1,
            "answered_from": self.answered_from,
            "cited": list(self.cited),
            "seconds": self.seconds,
        }


def question_json(question: Question) -> dict[str, Any]:
    """A question's part of a line of predictions."""
    return {
        "id": question.id,
        "video": question.video,
        "kind": question.kind,
        "at": question.at,
        "question": question.text,
        "choices": list(question.choices),
        "answer": question.answer,
    }


def find_videos(questions: Sequence[Question], folder: str | Path) -> dict[str, Path]:
    """The file of each video that is asked about. Raises InputError that names the first one that is missing."""
    root = Path(folder)
    found: dict[str, Path] = {}
    for name in dict.fromkeys(question.video for question in questions):
        places = [root / f"{name}{ending}" for ending in ENDINGS]
        file = next((place for place in places if isfile(place)), None)
        if file is None:
            raise InputError(f"there is no video {places[0]}, with or without {', '.join(ENDINGS[1:])}; put it there")
        found[name] = file
    return found


def ask_all(
    engine: StreamingVideoQA,
    questions: Sequence[Question],
    videos: Mapping[str, Path],
    *,
    ways: Sequence[AnswerFrom] = ("memory",),
    answered: Collection[tuple[str, str]] = (),
    on_problem: Callable[[Path, str], None] | None = None,
) -> Iterator[Prediction]:
    """Ask each question in each way as of its moment, video by video, while the video is captioned clip by clip.

    At a question's moment the memory holds the captions that have ended, and the recent frames are those sampled by
    then; before the first caption, memory is empty and the frames are asked. Each video is a stream of its own in the
    engine's memory, where what is captioned already is not captioned again; what comes after its last question is not
    captioned. (id, way) in `answered` are left out. A video that cannot be read to its last question is told to
    `on_problem`, and the next one taken. Raises InputError for it where nobody listens, and for a stream of the
    memory that was made otherwise.
    """
    by_video: dict[Path, list[Question]] = {}
    for question in questions:
        by_video.setdefault(videos[question.video].resolve(), []).append(question)
    for path, asked in by_video.items():
        left = [question for question in asked if any((question.id, way) not in answered for way in ways)]
        if not left:
            continue
        name = asked[0].video
        session = engine.open(name, source=str(path), resume=True)
        try:
            for question in _as_they_come(engine.backbone, session, path, left):
                remembered = bool(engine.store.captions(name, ended_by=question.at))
                for way in ways:
                    if (question.id, way) not in answered:
                        yield _answer(session, question, way, way if remembered else "recent-frames")
        except InputError as error:
            if on_problem is None:
                raise
            on_problem(path, str(error))


def _as_they_come(
    backbone: Backbone, session: Session, path: Path, questions: Sequence[Question]
) -> Iterator[Question]:
    """The questions in order of time, each when the session has come to its moment and no further."""
    config, first = session.config, session.next_clip
    due = sorted(questions, key=lambda question: float("inf") if question.at is None else question.at)
    clips = iter_clips(path, fps=config.fps, frames_per_clip=config.frames_per_clip)
    seen = ((clip, None) for clip in islice(clips, first))
    with closing(clips_ahead(clips, backbone)) as new:
        for clip, visual in chain(seen, new):
            while due and due[0].at is not None and due[0].at < clip.end:
                _show(session, clip, until=due[0].at)
                yield due.pop(0)
            if not due:
                return
            if clip.index < first:
                _show(session, clip, until=clip.end)
            else:
                session.process(clip, visual=visual)
    yield from due


def _show(session: Session, clip: VideoClip, until: float) -> None:
    for image, moment in zip(clip.frames, clip.times, strict=True):
        if moment <= until:
            session.recent.add(Frame(image, moment))


def _answer(session: Session, question: Question, way: AnswerFrom, source: AnswerFrom) -> Prediction:
    if source == "recent-frames" and not session.recent.until(question.at):
        return Prediction(question, way, "", source, (), 0.0)  # asked before the first picture
    began = time.perf_counter()
    answer = session.ask(question.prompt, question.at, answer_from=source)
    seconds = time.perf_counter() - began
    answered_from: AnswerFrom = "recent-frames" if answer.frame_times else "memory"
    cited = tuple(caption.index for caption in answer.citations)
    return Prediction(question, way, answer.text, answered_from, cited, seconds)
