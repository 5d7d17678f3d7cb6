"""What the templates read: a report's texts, numbers and pictures, ready to be put down."""

import math
from collections.abc import Sequence

from rlivs.clock import Clock
from rlivs.reports.cells import outline_path, selected_cells, surroundings_path
from rlivs.reports.colours import css_gradient, normalise_scores, score_range, score_text
from rlivs.reports.data import Citation, Report, ReportAnswer, ReportClip
from rlivs.reports.labels import frame_labels
from rlivs.reports.pictures import heat_uri, jpeg_uri, shrink_frames
from rlivs.reports.timeline import Axis, blocks, evidence, span_text
from rlivs.reports.words import differing_pieces, same_words
from rlivs.times import format_time

# Frames share this many pixels, so that the pictures of a longer video take hardly more room: 480 frames (30 clips
# of 16) are embedded at 128 pixels, 1,920 at 64, and above 3,413 they stay at 48.
PIXELS = 480 * 128 * 128
SMALLEST_FRAME, LARGEST_FRAME = 48, 128

# Answers with more citations than this start with their list closed.
OPEN_CITATIONS = 4


def report_view(report: Report) -> dict[str, object]:
    """The variables of `template/report.html`, but for the style and the script."""
    axis = Axis.of(report)
    side = _frame_side(report)
    answers_of: dict[int, list[int]] = {}
    for number, answer in enumerate(report.answers, start=1):
        for index in sorted({citation.index for citation in answer.citations}):
            answers_of.setdefault(index, []).append(number)
    known = {clip.index for clip in report.clips}
    return {
        "report": report,
        "gradient": css_gradient(),
        "tiles": _tiles(report),
        "ticks": axis.ticks(),
        "blocks": blocks(report, axis),
        "answers": [_answer(number, answer, axis, known) for number, answer in enumerate(report.answers, start=1)],
        "clips": [
            _clip(clip, side, answers_of.get(clip.index, []), report.clock)
            for clip in sorted(report.clips, key=lambda clip: clip.start)
        ],
    }


def _frame_side(report: Report) -> int:
    frames = sum(len(clip.frames) for clip in report.clips)
    return min(LARGEST_FRAME, max(SMALLEST_FRAME, math.isqrt(PIXELS // max(1, frames))))


def _tiles(report: Report) -> list[dict[str, str]]:
    """The numbers at the head of the page."""
    tiles = []
    clips, answers = report.clips, report.answers
    if clips:
        length = max(clip.end for clip in clips) - min(clip.start for clip in clips)
        tiles.append({"value": format_time(length), "label": "of video"})
        tiles.append({"value": f"{len(clips):,}", "label": "clip captioned" if len(clips) == 1 else "clips captioned"})
    scripted = [clip for clip in clips if clip.expected is not None]
    if scripted:
        right = sum(same_words(clip.caption, clip.expected or "") for clip in scripted)
        tiles.append({"value": f"{right:,} / {len(scripted):,}", "label": "captions as in the script"})
    columns = sum(len(clip.frames) * clip.grid[0] * clip.grid[1] for clip in clips if clip.selected)
    if columns:
        kept = sum(len(set(clip.selected)) for clip in clips if len(clip.frames))
        tiles.append({"value": f"{100 * kept / columns:.3g} %", "label": "of visual tokens kept"})
    if answers:
        tiles.append({"value": f"{len(answers):,}", "label": "question" if len(answers) == 1 else "questions"})
    scripted_answers = [answer for answer in answers if answer.expected is not None]
    if scripted_answers:
        right = sum(same_words(answer.text, answer.expected or "") for answer in scripted_answers)
        tiles.append({"value": f"{right:,} / {len(scripted_answers):,}", "label": "answers as in the script"})
    return tiles


def _verdict(text: str, expected: str | None) -> dict[str, object] | None:
    if expected is None:
        return None
    return {"right": same_words(text, expected), "pieces": differing_pieces(text, expected)}


def _answer(number: int, answer: ReportAnswer, axis: Axis, known: set[int]) -> dict[str, object]:
    facts = ["Asked after the whole video" if answer.at is None else f"Asked at {axis.clock.tell(answer.at)}"]
    if answer.latency_s is not None:
        facts.append(f"answered in {_duration(answer.latency_s)}")
    return {
        "number": number,
        "question": answer.question,
        "text": answer.text,
        "facts": ", ".join(facts),
        "verdict": _verdict(answer.text, answer.expected),
        "evidence": evidence(answer, axis),
        "citations": [_citation(citation, known, axis.clock) for citation in answer.citations],
        "open": len(answer.citations) <= OPEN_CITATIONS,
        "asked": None if answer.at is None else axis.at(answer.at),
    }


def _citation(citation: Citation, known: set[int], clock: Clock) -> dict[str, object]:
    return {
        "span": span_text(citation, clock),
        "caption": citation.caption,
        "index": citation.index,
        "linked": citation.index in known,
    }


def _clip(clip: ReportClip, side: int, cited_by: Sequence[int], clock: Clock) -> dict[str, object]:
    scored = clip.scores is not None and len(clip.frames) > 0
    return {
        "index": clip.index,
        "span": span_text(clip, clock),
        "caption": clip.caption,
        "verdict": _verdict(clip.caption, clip.expected),
        "cited_by": cited_by,
        "frames": _frames(clip, side, clock),
        "scored": scored,
        "range": [score_text(value) for value in score_range(clip.scores)] if clip.scores is not None else [],
        "kept": len(set(clip.selected)),
        "columns": len(clip.frames) * clip.grid[0] * clip.grid[1],
        "rows": clip.grid[0],
        "cols": clip.grid[1],
        "view": "selected" if clip.selected else "frames",
    }


def _frames(clip: ReportClip, side: int, clock: Clock) -> list[dict[str, object]]:
    if not len(clip.frames):
        return []
    num_frames = len(clip.frames)
    labels = frame_labels(clip.times, clock)
    cells = selected_cells(clip.selected, num_frames, clip.grid)
    heat = None if clip.scores is None else normalise_scores(clip.scores).reshape(num_frames, *clip.grid)
    frames = []
    for index, frame in enumerate(shrink_frames(clip.frames, side)):
        kept = int(cells[index].sum())
        alt = f"Frame at {labels[index]}" + (f", {kept} token{'' if kept == 1 else 's'} kept" if clip.selected else "")
        frames.append(
            {
                "time": labels[index],
                "alt": alt,
                "width": frame.shape[1],
                "height": frame.shape[0],
                "photo": jpeg_uri(frame),
                "heat": None if heat is None else heat_uri(heat[index]),
                "outline": outline_path(cells[index]) if clip.selected else None,
                "surroundings": surroundings_path(cells[index]) if clip.selected else None,
            }
        )
    return frames


def _duration(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
