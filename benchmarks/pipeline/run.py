"""Times the whole pipeline at full size, three ways side by side: `python -m benchmarks.pipeline.run`.

LLaVA-OneVision 7B and 0.5B and Qwen2.5-VL-7B from their published configurations, with random weights made on the GPU:
nothing is downloaded. Stage by stage with memory full (16 slots) and captions of 128 tokens, then questions about an
hour of video behind by ReKV's protocol (ICLR 2025): 64 tokens asked, 128 answered, 10K tokens of context.
Every model and way runs in a process of its own within the time given to all (`--minutes`); each row is written as
soon as it is there, and running out of memory or time is a row too. Beside the CSV go a table in Markdown and a plot.
With no GPU the same code runs on toy models; their figures say nothing about any GPU, nor about these models.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch
import transformers

from benchmarks.kernels.run import environment
from benchmarks.pipeline.measure import Row, find_model, measure
from benchmarks.pipeline.shapes import MODELS, TOYS
from benchmarks.pipeline.table import markdown, plot
from benchmarks.pipeline.ways import WAYS

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "pipeline.csv"
GRACE = 15.0  # seconds that a process may go on beyond its time, to end what it has begun
LEAST = 20.0  # seconds below which a process is not started
QUICK_MINUTES = 3.0


def isolated(model: str, way: str, seconds: float, command: list[str]) -> Iterator[Row]:
    """The rows of one process, as they come. One that dies, or is not done in time, is a row that says so."""
    asked = [*command, "--model", model, "--way", way, "--until", f"{time.time() + seconds:.1f}"]
    # A file, so that a process that writes much is not held up by a pipe nobody reads.
    with tempfile.TemporaryFile("w+") as complaints:
        paths = os.pathsep.join([str(ROOT), str(ROOT / "python"), os.environ.get("PYTHONPATH", "")])
        process = subprocess.Popen(
            asked,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"},
        )
        lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_read, args=(process, lines), daemon=True).start()
        deadline = time.monotonic() + seconds + GRACE
        try:
            while True:
                line = lines.get(timeout=max(0.1, deadline - time.monotonic()))
                if line is None:
                    break
                if line.startswith("{"):
                    yield Row(**json.loads(line))
        except queue.Empty:
            yield Row(model, way, "rest", note=f"not done within {seconds + GRACE:.0f} s")
        finally:
            process.kill()
            process.wait()
            complaints.seek(0)
            sys.stderr.write(complaints.read()[-4000:])
        if process.returncode not in (0, -9):
            complaints.seek(0)
            said = complaints.read().strip().splitlines() or ["nothing"]
            yield Row(model, way, "rest", note=f"process ended with {process.returncode}: {said[-1]}")


def _read(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="rlivs bench pipeline", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [model.name for model in (*MODELS, *TOYS)]
    parser.add_argument("--model", nargs="+", choices=names, help="default: all of full size; toys without a GPU")
    parser.add_argument(
        "--way", nargs="+", default=list(WAYS), choices=list(WAYS), help="of captioning and scoring; default all"
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything, the start of processes included")
    parser.add_argument(
        "--quick", action="store_true", help=f"LLaVA-OneVision 7B alone, in {QUICK_MINUTES:.0f} minutes"
    )
    parser.add_argument("--out", type=Path, help="CSV; default benchmarks/results/pipeline.csv, none without a GPU")
    options = parser.parse_args(arguments)

    on_gpu = torch.cuda.is_available()
    models = options.model or [model.name for model in (MODELS if on_gpu else TOYS)]
    minutes = options.minutes
    if options.quick:
        models, minutes = models[:1], min(minutes, QUICK_MINUTES)
    out = options.out or (RESULTS if on_gpu else Path(tempfile.mkdtemp()) / "pipeline.csv")
    if not on_gpu:
        print("no CUDA device: toy models on a CPU, whose figures say nothing about a GPU or the models themselves")
    if not on_gpu and any(name in {model.name for model in MODELS} for name in models):
        print("a model of full size needs a CUDA device", file=sys.stderr)
        return 2
    report = {**environment(), "transformers": transformers.__version__}
    out.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict] = []
    todo = [(name, way) for name in models for way in options.way]
    ends_at = time.monotonic() + 60 * minutes
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)] + list(report))
        writer.writeheader()
        for number, (name, way) in enumerate(todo):
            share = (ends_at - time.monotonic()) / (len(todo) - number)
            print(f"\n{name}, {way}: {share:.0f} s")
            for row in _rows(name, way, share, on_gpu):
                rows.append({**asdict(row), **report})
                writer.writerow(rows[-1])
                file.flush()
                _show(row)
    out.with_suffix(".md").write_text(markdown(rows))
    print(f"\n{markdown(rows)}\n{out}")
    picture = plot(rows, out.with_suffix(".svg")) if rows else None
    if picture is not None:
        print(picture)
    return 0 if all(_finished(rows, name, way) for name, way in todo) else 1


def _rows(name: str, way: str, share: float, on_gpu: bool) -> Iterator[Row]:
    if not on_gpu:  # nothing of a GPU's to keep apart
        model, work = find_model(name)
        yield from measure(model, way, work, torch.device("cpu"), share)
    elif share < LEAST:
        yield Row(name, way, "rest", note="no time left")
    else:
        command = [sys.executable, "-m", "benchmarks.pipeline.measure", "--device", "cuda"]
        yield from isolated(name, way, max(LEAST, share - GRACE / 2), command)


def _finished(rows: list[dict], model: str, way: str) -> bool:
    """Whether this way came to its end, or to that of the GPU's memory."""
    own = [row for row in rows if row["model"] == model and row["way"] == way]
    return any(row["stage"] == "question" and row["p50_ms"] for row in own) or any(
        row["note"] == "out of memory" for row in own
    )


def _show(row: Row) -> None:
    row = replace(row, stage=row.stage if row.positions is None else f"{row.stage} ({row.positions})")
    time_ = "" if row.p50_ms is None else f"{row.p50_ms:>10.3f} ms ({row.p20_ms:.3f}-{row.p80_ms:.3f}) x{row.repeats}"
    floor = "" if row.fraction_of_floor is None else f"  {row.fraction_of_floor:.0%} of the floor {row.floor_ms:.3f} ms"
    peak = "" if row.peak_gib is None else f"  {row.peak_gib:.2f} GiB"
    print(f"  {row.stage:<28}{time_}{floor}{peak}  {row.note}".rstrip(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
