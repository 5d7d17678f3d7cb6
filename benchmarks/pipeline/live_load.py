"""Many live streams and askers on one model for some minutes: fairness, lag, answers, memory.

    python benchmarks/pipeline/live_load.py --minutes 10 [--streams 8] [--askers 4] [--speed 1] [--at-once 1]

Each stream plays the demo film over and over against the clock, `--speed` times as fast as it is; up to `--at-once` of
them are captioned side by side. Each asker asks one stream after another the demo's questions. Ends with exit code 1 if
no caption came for a minute, a question had no answer, the streams' captions differ by more than 20 %, or resident
memory grew by more than 5 % from the second to the last quarter. Prompts grow with the captions up to `--budget` tokens
(700 are 30 captions, as many as the shipped model was trained on), and with them what an answer takes in memory and
time. Figures are added to the CSV, one row a run, and the samples to the file beside it.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
import transformers

from rlivs.config import load_config
from rlivs.errors import InputError
from rlivs.streaming import StreamingVideoQA
from rlivs.streaming.service import StreamService
from rlivs.video import Frame, open_video
from rlivs.video.live import SourceStatus

DEMO = Path(__file__).resolve().parents[2] / "python" / "rlivs" / "assets" / "demo"
SAMPLE_SECONDS = 1.0
STALLED_SECONDS = 60.0


class SimulatedCamera:
    """The demo film against the clock: a frame that is late is late, and is given all the same."""

    live = True

    def __init__(self, name: str, pictures: list[Frame], length: float, speed: float) -> None:
        self.name = name
        self._pictures, self._length, self._speed = pictures, length, speed
        self._closed = threading.Event()
        self._count = 0

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        begin = time.monotonic()
        for lap in itertools.count():
            for picture in self._pictures:
                moment = lap * self._length + picture.time
                if self._closed.wait(max(0.0, begin + moment / self._speed - time.monotonic())):
                    return
                self._count += 1
                yield Frame(picture.image, moment)

    def status(self) -> SourceStatus:
        return SourceStatus(frames_in=self._count, state="running")

    def close(self) -> None:
        self._closed.set()


class Asker:
    """Asks streams in turn until told to stop; notes seconds to the first piece and to the whole answer."""

    def __init__(self, service: StreamService, names: list[str], questions: list[str], stop: threading.Event) -> None:
        self.asked = self.answered = 0
        self.first_piece: list[float] = []
        self.seconds: list[float] = []
        self.failures: list[str] = []
        turns = zip(
            itertools.cycle(names), itertools.cycle(questions), itertools.cycle(("memory", "auto", "recent-frames"))
        )
        self.thread = threading.Thread(target=self._run, args=(service, turns, stop))
        self.thread.start()

    def _run(self, service: StreamService, turns: Iterator[tuple], stop: threading.Event) -> None:
        for name, question, way in turns:
            if stop.is_set():
                return
            self.asked += 1
            began = time.monotonic()
            pieces: list[float] = []  # when they came
            try:
                service.ask(name, question, answer_from=way, on_text=partial(note_time, pieces))
            except InputError as error:
                self.failures.append(str(error))
                continue
            self.answered += 1
            self.seconds.append(time.monotonic() - began)
            self.first_piece += [moment - began for moment in pieces[:1]]


def note_time(moments: list[float], piece: str) -> None:
    moments.append(time.monotonic())


def resident_mib() -> float:
    """Memory of this process, in MiB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--askers", type=int, default=4)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--at-once", type=int, default=1, help="streams that are captioned side by side")
    parser.add_argument("--model", default="tiny-onevision")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--budget", type=int, default=700, help="tokens of captions in an answer's prompt")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/live_load.csv"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    overrides = {"context_budget": options.budget, "captions_at_once": options.at_once}
    config = load_config(DEMO / "demo.yaml", overrides)
    questions = [item["question"] for item in json.loads((DEMO / "demo.json").read_text())["questions"]]
    film = open_video(DEMO / "demo.mp4")
    pictures = list(film.frames())
    length = pictures[-1].end or film.duration or pictures[-1].time + 1
    names = [f"camera-{number}" for number in range(options.streams)]
    samples: list[dict[str, float]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        StreamingVideoQA.from_pretrained(
            options.model, memory=Path(folder) / "captions.db", config=config, device="cpu"
        ) as engine,
        StreamService(engine) as service,
    ):
        for name in names:
            service.create(name)
        for name in names:
            service.attach(name, SimulatedCamera(name, pictures, length, options.speed))
        while not all(service.status(name).clips for name in names):
            time.sleep(0.1)
        stop = threading.Event()
        askers = [Asker(service, names[number:] + names[:number], questions, stop) for number in range(options.askers)]
        began = last_news = time.monotonic()
        clips_at_begin = {name: service.status(name).clips for name in names}
        clips = sum(clips_at_begin.values())
        stalled = False
        while (elapsed := time.monotonic() - began) < 60 * options.minutes and not stalled:
            time.sleep(SAMPLE_SECONDS)
            statuses = [service.status(name) for name in names]
            if (now := sum(status.clips for status in statuses)) > clips:
                clips, last_news = now, time.monotonic()
            stalled = time.monotonic() - last_news > STALLED_SECONDS
            samples.append(
                {
                    "seconds": round(elapsed, 1),
                    "resident_mib": round(resident_mib(), 1),
                    "clips": clips,
                    "worst_lag_s": round(max(status.lag_s for status in statuses), 2),
                    "frames_dropped": sum(status.frames_dropped for status in statuses),
                    "tokens_per_s": round(sum(status.tokens_per_s for status in statuses), 1),
                }
            )
        counts = [service.status(name).clips - clips_at_begin[name] for name in names]
        tokens = sum(caption.num_tokens for name in names for caption in engine.store.captions(name))
        stop.set()
        for asker in askers:
            asker.thread.join()
        dropped = sum(service.status(name).frames_dropped for name in names)
        gaps = sum(len(engine.store.gaps(name)) for name in names)
    seconds = [value for asker in askers for value in asker.seconds]
    first = [value for asker in askers for value in asker.first_piece]
    quarter = max(1, len(samples) // 4)
    settled = statistics.mean(sample["resident_mib"] for sample in samples[quarter : 2 * quarter] or samples)
    last = statistics.mean(sample["resident_mib"] for sample in samples[-quarter:])
    row = {
        "minutes": options.minutes,
        "streams": options.streams,
        "askers": options.askers,
        "speed": options.speed,
        "at_once": options.at_once,
        "budget": options.budget,
        "clips": sum(counts),
        "fewest_clips": min(counts),
        "most_clips": max(counts),
        "frames_dropped": dropped,
        "gaps": gaps,
        "worst_lag_p50_s": round(quantile([sample["worst_lag_s"] for sample in samples], 0.5), 2),
        "worst_lag_p95_s": round(quantile([sample["worst_lag_s"] for sample in samples], 0.95), 2),
        "caption_tokens": tokens,
        "asked": sum(asker.asked for asker in askers),
        "answered": sum(asker.answered for asker in askers),
        "first_piece_p50_s": round(quantile(first, 0.5), 3),
        "answer_p50_s": round(quantile(seconds, 0.5), 3),
        "answer_p95_s": round(quantile(seconds, 0.95), 3),
        "answer_max_s": round(max(seconds, default=float("nan")), 3),
        "resident_second_quarter_mib": round(settled, 1),
        "resident_last_quarter_mib": round(last, 1),
        "threads": options.threads,
        "device": platform.machine(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    add_row(options.out, row)
    with options.out.with_name(options.out.stem + "_samples.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(samples[0]))
        writer.writeheader()
        writer.writerows(samples)
    for name, value in row.items():
        print(f"{name}: {value}")
    problems = [
        ("no caption came for a minute", stalled),
        ("a question had no answer", row["asked"] != row["answered"]),
        ("the streams were not served alike", max(counts) > 1.2 * min(counts) + 1),
        ("memory grew", last > 1.05 * settled),
    ]
    found = [text for text, is_so in problems if is_so]
    print("; ".join(found) or "all as it should be")
    for asker in askers:
        for failure in asker.failures[:3]:
            print(failure)
    return 1 if found else 0


def add_row(path: Path, row: dict[str, object]) -> None:
    """Add a row; the header comes with the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if is_new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    sys.exit(main())
