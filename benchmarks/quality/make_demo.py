"""Write the demo video, what it shows, and how to run it: `python -m benchmarks.quality.make_demo`.

The script follows from one seed that nobody searched for. Scenes change at clip borders; some last two clips.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from .video import Take, write_video
from .world import questions, scenes

ASSETS = Path(__file__).resolve().parents[2] / "python" / "rlivs" / "assets"
SEED = 0
CLIPS = 27
SIDE = 256
FRAME_RATE = 8
SAMPLED_FPS = 2.0
FRAMES_PER_CLIP = 16
CLIP_SECONDS = FRAMES_PER_CLIP / SAMPLED_FPS
LONG_SCENES = (4, 10, 16)  # these scenes last two clips
CONFIG = """\
# Settings for the demo video: a clip is 16 frames at 2 frames a second, 8 s.
fps: 2.0
frames_per_clip: 16
"""


def script(seed: int = SEED, clips: int = CLIPS) -> list[Take]:
    """The scenes in order, with their lengths in clips."""
    rng = np.random.default_rng(seed)
    takes: list[Take] = []
    left = clips
    while left:
        length = 2 if len(takes) in LONG_SCENES and left > 1 else 1
        things = scenes.sample_things(rng, 1 if rng.random() < 0.4 else 2)
        style = scenes.sample_style(rng)
        if length == 2:
            scene = scenes.sample_scene(rng, things, radius=(0.12, 0.15), travel=(0.45, 0.6), style=style)
        else:
            scene = scenes.sample_scene(rng, things, travel=(0.25, 0.6), style=style)
        takes.append(Take(scene, length * CLIP_SECONDS))
        left -= length
    return takes


def clip_lines(takes: list[Take]) -> list[questions.Line]:
    """One line a clip: its span and what is seen in it."""
    lines, start = [], 0.0
    for take in takes:
        for _ in range(round(take.seconds / CLIP_SECONDS)):
            lines.append(questions.Line(start, start + CLIP_SECONDS, take.scene.things))
            start += CLIP_SECONDS
    return lines


def pick_questions(lines: list[questions.Line]) -> list[questions.Question]:
    """Three questions with early, middle and late evidence: in each third the first with one right answer."""
    third = len(lines) // 3
    chosen = [questions.ask_at(lines, third // 2)]
    for kind, ask in (("when", questions.ask_when), ("after", questions.ask_after)):
        first = third * len(chosen)
        found = (ask(lines, index, thing) for index in range(first, len(lines)) for thing in lines[index].things)
        question = next((q for q in found if q is not None), None)
        if question is None:
            raise ValueError(f"no {kind!r} question has one right answer in this script")
        chosen.append(question)
    return chosen


def describe(lines: list[questions.Line], seed: int) -> dict:
    """The contents of demo.json."""
    return {
        "seed": seed,
        "fps": SAMPLED_FPS,
        "frames_per_clip": FRAMES_PER_CLIP,
        "duration": lines[-1].end,
        "clips": [
            {"index": i, "start": line.start, "end": line.end, "caption": line.text} for i, line in enumerate(lines)
        ],
        "questions": [
            {
                "question": q.text,
                "answer": q.answer,
                "kind": q.kind,
                "evidence": {"start": lines[q.line].start, "end": lines[q.line].end},
            }
            for q in pick_questions(lines)
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ASSETS / "demo", help="directory to write to")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    takes = script(arguments.seed)
    write_video(arguments.out / "demo.mp4", takes, side=SIDE, rate=FRAME_RATE)
    text = json.dumps(describe(clip_lines(takes), arguments.seed), indent=2)
    (arguments.out / "demo.json").write_text(text + "\n")
    (arguments.out / "demo.yaml").write_text(CONFIG)


if __name__ == "__main__":
    main()
