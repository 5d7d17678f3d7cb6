"""What a clip's one right caption is, and whether the clip is clear enough to have one.

The rule: a clip tells of the shot that is shown longest in it. It names the things of that shot that can be seen in
at least 5 of its frames, each with the motion it has in most of these, and the things that are hidden behind a box:
those stay still. Streams with a clip for which this would be a matter of taste are not made (`clip_truth` gives None).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import grammar
from .script import CLIP_TICKS, TICK, Shot, Stream, clip_times

LEAST_FRAMES = 5
LEAST_MAJORITY = 10  # frames of the shot shown longest in a clip with a cut


@dataclass(frozen=True)
class ClipTruth:
    """The told shot, its things in caption order, and which of them only the past can tell of."""

    shot: int
    things: tuple[grammar.Thing, ...]
    hidden: tuple[str, ...]

    @property
    def caption(self) -> str:
        return grammar.caption(self.things)

    @property
    def needs_past(self) -> bool:
        return bool(self.hidden)

    @property
    def seen_things(self) -> tuple[grammar.Thing, ...]:
        """The things that the clip itself shows."""
        return tuple(thing for thing in self.things if thing.name not in self.hidden)


def clips_of(start: float, end: float) -> list[tuple[int, np.ndarray]]:
    """The clips in which a shot from `start` to `end` is the longest, with the times of its frames there."""
    first, last = round(start / TICK), round(end / TICK)
    found = []
    for clip in range(first // CLIP_TICKS, (last - 1) // CLIP_TICKS + 1):
        low, high = max(first, clip * CLIP_TICKS), min(last, (clip + 1) * CLIP_TICKS)
        if high - low >= LEAST_MAJORITY:
            found.append((clip, np.arange(low, high) * TICK))
    return found


def told_things(shot: Shot, times: np.ndarray, known: set[str]) -> tuple[list[grammar.Thing], list[str]] | None:
    """Things and hidden names of a shot's frames at `times`; `known`: names told of this shot before. None: unclear."""
    things, hidden = [], []
    for actor in shot.actors:
        share = shot.shown(actor, times)
        seen = share >= 0.5
        if seen.sum() >= LEAST_FRAMES:
            motions = [actor.motion(time - shot.start) for time in times[seen]]
            motion = max(sorted(set(motions)), key=motions.count)
            if motions.count(motion) < 0.7 * len(motions):
                return None
            same = times[seen][[m == motion for m in motions]]
            path = actor.centres(np.array([same[0], same[-1]]) - shot.start)
            if motion != "stays still" and np.abs(path[1] - path[0]).max() < 0.12:
                return None
            things.append(actor.as_thing(motion))
            continue
        if (share >= 0.15).sum() >= 3:
            return None
        out_of_sight = (shot.behind(actor, times) > 0.85).sum()
        if out_of_sight >= 0.7 * len(times):
            if actor.name not in known:
                return None
            things.append(actor.as_thing("stays still"))
            hidden.append(actor.name)
        elif out_of_sight >= 3:
            return None
    if len(things) == len(hidden):
        return None
    return things, hidden


def shot_truths(shot: Shot, index: int) -> list[tuple[int, ClipTruth]] | None:
    """Truths of all clips that tell of the shot, or None if one of them is unclear."""
    known: set[str] = set()
    found = []
    for clip, times in clips_of(shot.start, shot.end):
        told = told_things(shot, times, known)
        if told is None:
            return None
        things, hidden = told
        known |= {thing.name for thing in things}
        found.append((clip, ClipTruth(index, grammar.in_order(tuple(things)), tuple(hidden))))
    return found


def stream_truths(stream: Stream) -> list[ClipTruth]:
    """One truth a clip, in order."""
    found: dict[int, ClipTruth] = {}
    for index, shot in enumerate(stream.shots):
        found |= dict(shot_truths(shot, index) or [])
    return [found[clip] for clip in range(stream.clips)]


def told_frames(stream: Stream, truth: ClipTruth, clip: int) -> np.ndarray:
    """Which of a clip's frames show the told shot, bool `[16]`."""
    shot, times = stream.shots[truth.shot], clip_times(clip)
    return (times >= shot.start - 1e-6) & (times < shot.end - 1e-6)
