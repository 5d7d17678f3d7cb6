"""Where clips, questions and citations stand along the stream, in per cent of its length."""

import math
from dataclasses import dataclass

from rlivs.clock import COUNTED, Clock
from rlivs.reports.data import Citation, Report, ReportAnswer, ReportClip
from rlivs.reports.words import novelty, same_words

NOVELTY_LEVELS = 4


@dataclass(frozen=True)
class Block:
    """A clip on the timeline."""

    index: int
    x: str
    width: str
    level: int  # 0: the caption repeats the previous one; NOVELTY_LEVELS - 1: all its words are new
    wrong: bool
    label: str


@dataclass(frozen=True)
class Tick:
    x: str
    label: str
    minor: bool


@dataclass(frozen=True)
class Axis:
    """Seconds of the stream to per cent of the drawing's width."""

    start: float
    end: float
    clock: Clock = COUNTED

    @classmethod
    def of(cls, report: Report) -> "Axis":
        start = min((clip.start for clip in report.clips), default=0.0)
        ends = [clip.end for clip in report.clips]
        ends += [answer.at for answer in report.answers if answer.at is not None]
        ends += [citation.end for answer in report.answers for citation in answer.citations]
        return cls(start, max([*ends, start + 1.0]), report.clock)

    def at(self, seconds: float) -> str:
        return _per_cent((min(max(seconds, self.start), self.end) - self.start) / (self.end - self.start))

    def span(self, start: float, end: float) -> dict[str, str]:
        """Left edge and width of a span of the stream."""
        start, end = max(start, self.start), min(end, self.end)
        return {"x": self.at(start), "width": _per_cent(max(0.0, end - start) / (self.end - self.start))}

    def ticks(self) -> list[Tick]:
        step = tick_step(self.end - self.start)
        zero = self.clock.midnight
        first, last = math.ceil((self.start - zero) / step), math.floor((self.end - zero) / step)
        moments = [(number, zero + number * step) for number in range(first, last + 1)]
        return [Tick(self.at(at), self.clock.tell_short(at), minor=number % 2 == 1) for number, at in moments]


def blocks(report: Report, axis: Axis) -> list[Block]:
    """One block a clip, in order of time."""
    previous: str | None = None
    result = []
    for clip in sorted(report.clips, key=lambda clip: clip.start):
        level = round(novelty(clip.caption, previous) * (NOVELTY_LEVELS - 1))
        previous = clip.caption
        wrong = clip.expected is not None and not same_words(clip.caption, clip.expected)
        label = f"{span_text(clip, report.clock)} {clip.caption}"
        span = axis.span(clip.start, clip.end)
        result.append(Block(clip.index, span["x"], span["width"], level, wrong, label))
    return result


def evidence(answer: ReportAnswer, axis: Axis) -> dict[str, object]:
    """An answer's own small timeline: what had been seen when it was asked, and what it rests on."""
    asked = axis.end if answer.at is None else answer.at
    return {
        "seen": axis.at(asked),
        "spans": [axis.span(citation.start, citation.end) for citation in answer.citations],
    }


def span_text(clip: ReportClip | Citation, clock: Clock) -> str:
    return clock.tell_span(clip.start, clip.end, dash="–")


def tick_step(duration: float, most: int = 8) -> float:
    """The shortest round step, in seconds, that cuts `duration` into at most `most` parts."""
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
    for step in steps:
        if duration <= step * most:
            return float(step)
    return 86400.0 * math.ceil(duration / (86400 * most))


def _per_cent(share: float) -> str:
    return f"{100 * share:.3f}".rstrip("0").rstrip(".") + "%"
