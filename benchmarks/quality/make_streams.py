"""Write streams of the second world as H.264 and JSON: `python -m benchmarks.quality.make_streams --out DIR`.

A stream `NAME` is `NAME.mp4`, `NAME.json` (its script, one right caption a clip, its questions) and `NAME.masks.npz`
(which pixels of each sampled frame belong to which thing, packed bits).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from .video import encode
from .world import pictures
from .world.asked import ask_stream
from .world.script import CLIP_SECONDS, CLIP_TICKS, TICK, Stream, clip_times
from .world.streams import sample_stream
from .world.truth import ClipTruth, stream_truths

MASK_SIDE = 64


def write_video(stream: Stream, path: Path, *, side: int, rate: int, quality: int = 23) -> None:
    """Encode a stream with libx264, `rate` frames a second; the same bytes every time."""
    times = np.arange(round(stream.seconds * rate)) / rate
    encode(pictures.frames(stream, times, side), path, side=side, rate=rate, quality=quality)


def describe(stream: Stream, truths: list[ClipTruth], questions: int) -> dict:
    """The contents of a stream's JSON file."""
    return {
        "seed": list(stream.seed),
        "fps": 1 / TICK,
        "frames_per_clip": CLIP_TICKS,
        "duration": stream.seconds,
        "shots": [
            {
                "start": shot.start,
                "end": shot.end,
                "kind": shot.kind,
                "repeats": shot.repeats,
                "things": [
                    {"name": actor.name, "radius": actor.radius, "path": actor.keys.tolist()} for actor in shot.actors
                ],
                "box": None
                if shot.box is None
                else [shot.box.x, shot.box.y, shot.box.half_width, shot.box.half_height],
            }
            for shot in stream.shots
        ],
        "clips": [
            {
                "index": index,
                "start": index * CLIP_SECONDS,
                "end": (index + 1) * CLIP_SECONDS,
                "shot": truth.shot,
                "caption": truth.caption,
                "hidden": list(truth.hidden),
            }
            for index, truth in enumerate(truths)
        ],
        "questions": [
            {
                "kind": asked.kind,
                "question": asked.text,
                "answer": asked.answer,
                "at": asked.at,
                "evidence": {"start": asked.evidence[0], "end": asked.evidence[1]},
            }
            for asked in ask_stream(stream, truths, 1, questions)
        ],
    }


def write_masks(stream: Stream, path: Path) -> None:
    """Packed masks `[frames, 64 * 64 / 8]` for each name, and the times of the frames."""
    times = np.concatenate([clip_times(clip) for clip in range(stream.clips)])
    names = sorted({actor.name for shot in stream.shots for actor in shot.actors})
    bits = {name: np.zeros((len(times), MASK_SIDE * MASK_SIDE // 8), np.uint8) for name in names}
    for row, time in enumerate(times):
        for name, mask in pictures.masks(stream, time, MASK_SIDE).items():
            bits[name][row] = np.packbits(mask)
    np.savez_compressed(path, times=times, **bits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="directory to write to")
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=5.0, help="length of a stream")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, default=256, help="pixels")
    parser.add_argument("--rate", type=int, default=8, help="frames a second of the video")
    parser.add_argument("--questions", type=int, default=8, help="questions of each kind")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for index in range(arguments.streams):
        stream = sample_stream((arguments.seed, index), max(1, round(arguments.minutes * 60 / CLIP_SECONDS)))
        base = arguments.out / f"stream-{arguments.seed}-{index}"
        write_video(stream, base.with_suffix(".mp4"), side=arguments.side, rate=arguments.rate)
        told = describe(stream, stream_truths(stream), arguments.questions)
        base.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")
        write_masks(stream, base.with_suffix(".masks.npz"))


if __name__ == "__main__":
    main()
