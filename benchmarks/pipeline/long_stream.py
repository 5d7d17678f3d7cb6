"""Resident memory of captioning a long video: after its first ten minutes, and at its end.

    python benchmarks/pipeline/long_stream.py [--hours 2] [--fps 0.5] [--out benchmarks/results/long_stream.csv]

The video (64x48, 2 frames a second, H.264, shapes that wander) is made on the spot; the model is the shipped one. The
same loop serves any model: what is measured is everything around the model that could grow with time.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import psutil

from rlivs import PipelineConfig, StreamingVideoQA
from rlivs.video import count_clips

WARM_UP = 600.0  # seconds of video


def write_video(path: Path, hours: float) -> None:
    """A wandering square on a grey ground, two frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=2, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(int(hours * 7200)):
            image = np.full((48, 64, 3), 128, np.uint8)
            left, top = (int(20 + 18 * f(index / 40)) for f in (math.sin, math.cos))
            image[top % 36 : top % 36 + 12, left : left + 12] = (220, 40 + index % 180, 60)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def measure(hours: float, fps: float) -> list[tuple[float, float]]:
    """(seconds of video captioned, resident MiB) after every clip."""
    process = psutil.Process(os.getpid())
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "long.mp4"
        write_video(video, hours)
        config = PipelineConfig(fps=fps, max_caption_tokens=32)
        total = count_clips(video, fps=fps, frames_per_clip=config.frames_per_clip)
        samples = []
        with StreamingVideoQA.from_pretrained("tiny-onevision", memory=Path(folder) / "c.db", config=config) as engine:
            for clip in engine.open("long", source=str(video)).watch(video):
                samples.append((clip.end, process.memory_info().rss / 2**20))
                if sys.stderr.isatty():
                    print(f"\rclip {clip.index + 1} of {total}, {samples[-1][1]:.0f} MiB", end="", file=sys.stderr)
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--fps", type=float, default=0.5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "long_stream.csv")
    arguments = parser.parse_args()
    began = time.perf_counter()
    samples = measure(arguments.hours, arguments.fps)
    early = next(rss for end, rss in samples if end >= WARM_UP)
    last = samples[-1][1]
    print(
        f"{len(samples)} clips, {samples[-1][0] / 3600:.2f} h: {early:.1f} MiB after ten minutes, {last:.1f} MiB "
        f"at the end ({100 * (last / early - 1):+.1f} %), {time.perf_counter() - began:.0f} s"
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_seconds", "resident_mib"])
        writer.writerows((f"{end:.0f}", f"{rss:.1f}") for end, rss in samples)


if __name__ == "__main__":
    main()
