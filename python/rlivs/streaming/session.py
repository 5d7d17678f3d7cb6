"""One stream: its clips, its visual memory, its captions and its questions."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from threading import RLock
from time import time as wall_time

import numpy as np

from rlivs.backbones import Backbone, VisualTokens
from rlivs.clock import COUNTED, Clock
from rlivs.config import PipelineConfig
from rlivs.errors import InputError
from rlivs.memory.embedders import Embedder
from rlivs.memory.store import Caption, CaptionStore
from rlivs.memory.visual import VisualMemory
from rlivs.scoring import Handle
from rlivs.streaming.ahead import clips_ahead
from rlivs.streaming.answering import (
    Answer,
    AnswerSteps,
    answer_steps,
    caption_line,
    check_question,
    frames_answer_steps,
    run_to_end,
)
from rlivs.streaming.captioning import CaptionedClip, ReadyClip, caption_ready, ready_clip
from rlivs.streaming.recent_frames import AnswerFrom, RecentFrames, asks_about_present, check_answer_from
from rlivs.streaming.together import caption_clips
from rlivs.video import Frame, Sampler, VideoClip, iter_clips, make_clips
from rlivs.video.sampling import LONGEST_SHOWN

_log = logging.getLogger(__name__)


class Session:
    """The state of one stream between clips. Made by `StreamingVideoQA.open`, not by hand.

    Everything a clip leaves behind is committed to the caption store in one transaction before it is handed out, so
    that a stream opened again continues exactly where it stopped. Questions may come from any thread: the model serves
    one clip or one question at a time, whichever of its sessions they belong to.
    """

    def __init__(
        self,
        name: str,
        backbone: Backbone,
        tap: Handle,
        embedder: Embedder,
        store: CaptionStore,
        config: PipelineConfig,
        turn: RLock | None = None,
    ) -> None:
        """`turn` is held while the model works; sessions of one model share it."""
        self.name = name
        self.config = config
        self._backbone = backbone
        self._tap = tap
        self._embedder = embedder
        self._store = store
        self._turn = turn or RLock()
        self._memory = VisualMemory(slots=config.memory_slots)
        for payload in store.visual_slots(name):
            self._memory.push(VisualMemory.from_bytes(payload))
        # By time and not by number of clips: one that a flush ended may have been short.
        self._sampler = Sampler(config.fps, first_sample=round(store.last_end(name) * config.fps))
        self._pending: list[Frame] = []
        self._coming = self.next_clip
        self._by_clock = bool(store.stream(name).settings.get("clock"))
        self._clock = COUNTED
        self.recent = RecentFrames(config.frames_per_clip)

    @property
    def next_clip(self) -> int:
        """Index of the clip that comes next: 0 for a new stream."""
        return self._store.last_index(self.name) + 1

    @property
    def visual_bytes(self) -> int:
        """What the visual memory takes, in bytes."""
        return sum(slot.embeddings.nbytes + slot.indices.nbytes for slot in self._memory.slots)

    @property
    def clock(self) -> Clock:
        """How this stream's moments are told: a live stream's by the wall clock only once its first frame has come."""
        if self._by_clock and self._clock.epoch is None:
            self._clock = self._store.clock(self.name)
        return self._clock

    def comes_now(self, seconds: float) -> None:
        """A frame of this second has just been pushed: where the clock wants one, the first tells when second 0 was."""
        if self._by_clock and self.clock.epoch is None:
            self._store.set_epoch(self.name, wall_time() - seconds)

    @property
    def captions(self) -> list[Caption]:
        """Every caption of this stream so far, in order of time."""
        return self._store.captions(self.name)

    def watch(self, path: str | Path, *, on_token: Callable[[int], None] | None = None) -> Iterator[CaptionedClip]:
        """Caption the clips of a video file that this stream has not seen yet, one at a time.

        Raises InputError for a file that cannot be read (see `rlivs.video.open_video`).
        """
        yield from self.caption_clips(self.unseen_clips(path), on_token=on_token)

    def unseen_clips(self, path: str | Path) -> Iterator[VideoClip]:
        """The clips of a video file that this stream has not seen yet; see `rlivs.video.iter_clips`."""
        config = self.config
        return iter_clips(path, fps=config.fps, frames_per_clip=config.frames_per_clip, first_clip=self.next_clip)

    def caption_clips(
        self, clips: Iterable[VideoClip], *, on_token: Callable[[int], None] | None = None
    ) -> Iterator[CaptionedClip]:
        """`process` of one clip after another, the next one being made, and on a GPU encoded, meanwhile."""
        for clip, visual in clips_ahead(clips, self._backbone):
            yield self.process(clip, on_token=on_token, visual=visual)

    def push(self, frame: np.ndarray, time: float) -> list[CaptionedClip]:
        """Take one frame `[H, W, 3]` uint8 RGB shown from `time` (seconds, never decreasing) on.

        Frames are sampled at the configured rate; the clips they fill are captioned and returned: mostly none, or one,
        and more only after a frame that was shown for longer than a clip. The array is copied and may be used again.
        Raises InputError for a frame of another kind, and when time runs backwards or leaps by more than a day.
        """
        _check_frame(frame)
        check_push(time, self._sampler.next_time)
        samples = self._sampler.push(Frame(image=frame.copy(), time=time))
        self.comes_now(time)
        for sampled in samples:
            self._pending.append(sampled)
            self.recent.add(sampled)
        captioned = []
        while len(self._pending) >= self.config.frames_per_clip:
            captioned.append(self._process_pending())
        return captioned

    def flush(self) -> CaptionedClip | None:
        """Caption the frames pushed since the last full clip, as a short clip; None when there are none."""
        self._pending += self._sampler.finish()
        captioned = None
        while self._pending:
            captioned = self._process_pending()
        return captioned

    def process(
        self,
        clip: VideoClip,
        *,
        on_token: Callable[[int], None] | None = None,
        between_steps: Callable[[], None] | None = None,
        visual: VisualTokens | None = None,
    ) -> CaptionedClip:
        """Caption one clip, select its tokens, remember both. Raises InputError for a clip out of order.

        The model may be used for something else in `between_steps`, which is called between two of its steps. `visual`
        are the clip's visual tokens, where it is encoded already.
        """
        with self._turn:
            self._take(clip)
            ready = ready_clip(self._backbone, clip, self._memory.slots, self.config, visual)
            if between_steps is not None:
                between_steps()
            result = caption_ready(self._backbone, self._tap, ready, self.config, on_token, between_steps)
            self._remember(result)
            return result

    def _take(self, clip: VideoClip) -> None:
        """The clip is about to be captioned. Raises InputError for one out of order."""
        if self._by_clock and self.clock.epoch is None:
            # A film, which has no clock. Later frames must not give it one: its captions are told already.
            self._store.count_moments(self.name)
            self._by_clock = False
        if clip.index != self.next_clip:
            raise InputError(
                f"stream '{self.name}' expects clip {self.next_clip}, not clip {clip.index}; "
                "clips come in order, from one session at a time"
            )
        for image, time in zip(clip.frames, clip.times, strict=True):
            self.recent.add(Frame(image, time))

    def _remember(self, result: CaptionedClip) -> None:
        """Commit a clip's caption, and keep its tokens for the next ones."""
        line = caption_line(result.start, result.end, result.caption, self.clock)
        caption = Caption(
            stream=self.name,
            index=result.index,
            start=result.start,
            end=result.end,
            text=result.caption,
            num_tokens=len(self._backbone.tokenizer(line + "\n", add_special_tokens=False).input_ids),
            selected=result.selected,
        )
        self._store.append(
            caption,
            embedding=self._embedder.embed([result.caption])[0],
            embedder_id=self._embedder.id,
            visual=VisualMemory.to_bytes(result.tokens) if self.config.memory_slots else None,
            keep_visual=self.config.memory_slots,
            scores=result.scores,
            grid=(result.steps, *result.grid),
        )
        self._memory.push(result.tokens)
        self._coming = result.index + 1

    def ask(
        self,
        question: str,
        at: float | None = None,
        *,
        answer_from: AnswerFrom = "memory",
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Answer a question as of the moment `at` (seconds; default: now, the end of the last clip).

        `answer_from` "memory": from the captions that ended by then, and no later ones. "recent-frames": from the last
        frames that were shown by then, captioned or not, as many as a clip has. "auto": from those frames if the
        question is about the present ("now", "currently", ...) or nothing is captioned yet, else from memory.
        `on_text` is called with pieces of the answer as they come. Raises InputError for an empty question, or when
        there is nothing to answer from.
        """
        with self._turn:
            return run_to_end(self.ask_steps(question, at, answer_from=answer_from, on_text=on_text))

    def ask_steps(
        self,
        question: str,
        at: float | None = None,
        *,
        answer_from: AnswerFrom = "memory",
        on_text: Callable[[str], None] | None = None,
    ) -> AnswerSteps:
        """`ask`, pausing after each step of the model. Captions and frames are those there are when this is called."""
        check_answer_from(answer_from)
        question = check_question(question)
        if at is not None and math.isnan(at):
            raise InputError("the moment of the question is no number; give seconds, or None for now")
        frames = self.recent.until(at)
        if answer_from == "auto":
            captioned = self._store.has_captions(self.name, ended_by=at)
            of_present = frames and asks_about_present(question)
            answer_from = "recent-frames" if of_present or not captioned else "memory"
        if answer_from == "recent-frames":
            return frames_answer_steps(self._backbone, self.config, question, frames, on_text, self.clock)
        captions, embeddings = self._store.recall(self.name, ended_by=at)
        moment = at if at is not None and math.isfinite(at) else self._now()
        return answer_steps(
            self._backbone, self._embedder, self.config, question, moment, captions, embeddings, on_text, self.clock
        )

    def _now(self) -> float:
        """The newest moment that is known of: the end of the last caption or gap, or the newest frame."""
        return max([self._store.last_end(self.name), *(frame.time for frame in self.recent.until(None))])

    def _process_pending(self) -> CaptionedClip:
        frames = self._pending[: self.config.frames_per_clip]
        clips = make_clips(frames, fps=self.config.fps, frames_per_clip=len(frames), first_index=self._coming)
        captioned = self.process(next(clips))
        # Only now: a clip that failed (a full disk) is captioned by the next call, and no frame is lost.
        del self._pending[: len(frames)]
        return captioned


def process_together(
    turns: Sequence[tuple[Session, VideoClip, VisualTokens | None]], between_steps: Callable[[], None] | None = None
) -> list[CaptionedClip | Exception]:
    """`Session.process` of one clip each, and its visual tokens if there are, of several sessions of one engine,
    captioned side by side.

    What a session's clip raised stands in its place, and is no other's trouble. Where they cannot be captioned at once
    (the GPU's memory is too small, say), they are one after the other.
    """
    first = turns[0][0]
    outcomes: list[CaptionedClip | Exception | None] = [None] * len(turns)
    ready: dict[int, ReadyClip] = {}
    with first._turn:
        for index, (session, clip, visual) in enumerate(turns):
            try:
                session._take(clip)
                ready[index] = ready_clip(session._backbone, clip, session._memory.slots, session.config, visual)
            except Exception as error:
                outcomes[index] = error
            if between_steps is not None:
                between_steps()
        for index, result in zip(ready, _captions(first, list(ready.values()), between_steps), strict=True):
            outcomes[index] = result
            if not isinstance(result, Exception):
                try:
                    turns[index][0]._remember(result)
                except Exception as error:
                    outcomes[index] = error
    return [outcome for outcome in outcomes if outcome is not None]


def _captions(
    session: Session, ready: list[ReadyClip], between_steps: Callable[[], None] | None
) -> list[CaptionedClip | Exception]:
    """The captions of clips, side by side, or one by one where that fails or there is but one."""
    shared = session._backbone, session._tap
    if len(ready) > 1:
        try:
            return [*caption_clips(*shared, ready, session.config, between_steps)]
        except Exception:
            _log.warning("captioning %d clips at once failed; they are captioned one by one", len(ready), exc_info=True)
    found: list[CaptionedClip | Exception] = []
    for each in ready:
        try:
            found.append(caption_ready(*shared, each, session.config, between_steps=between_steps))
        except Exception as error:
            found.append(error)
    return found


def check_push(time: float, expected: float) -> None:
    """Raise InputError for a pushed frame's time that is none, or lies a day beyond the one that is `expected`."""
    if not math.isfinite(time) or abs(time - expected) > LONGEST_SHOWN:
        raise InputError(
            f"a frame at {time} s cannot follow {expected:.3f} s; "
            "count seconds from the stream's start: subtract its first time from all"
        )


def _check_frame(frame: np.ndarray) -> None:
    known = isinstance(frame, np.ndarray)
    if not known or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        what = f"{frame.dtype} {frame.shape}" if known else f"a {type(frame).__name__}"
        raise InputError(f"a frame is {what}; give an array of uint8 RGB [height, width, 3]")
