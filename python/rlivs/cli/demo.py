"""`rlivs demo`: the shipped model on the shipped video, with questions and a report."""

from __future__ import annotations

import json as json_format
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from rlivs.cli import options
from rlivs.cli.outputs import make_folder
from rlivs.cli.terminal import messages, print_json, progress, quiet_libraries, working

ASSETS = Path(__file__).resolve().parents[1] / "assets" / "demo"


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for report.html and the caption memory, demo.db.")] = Path(
        "rlivs-demo"
    ),
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Caption a short film of coloured shapes, ask three questions about it, write a report.

    The film's script is known, so every caption and answer is shown beside what it should be.
    """
    device = options.parse_device(device)
    script = json_format.loads((ASSETS / "demo.json").read_text(encoding="utf-8"))
    video = ASSETS / "demo.mp4"
    settings = options.read_config(ASSETS / "demo.yaml", None)
    make_folder(out)
    memory = out / "demo.db"
    _remove_memory(memory)
    quiet_libraries()
    from rlivs.reports import write_report
    from rlivs.streaming import StreamingVideoQA
    from rlivs.streaming.retelling import tell, tell_answer
    from rlivs.times import format_time
    from rlivs.video import count_clips

    with working("loading the model"):
        engine = StreamingVideoQA.from_pretrained(options.DEFAULT_MODEL, memory=memory, config=settings, device=device)
    with engine:
        session = engine.open("demo", source=str(video))
        expected = {index: clip["caption"] for index, clip in enumerate(script["clips"])}
        exact = 0
        began = time.perf_counter()
        with progress(
            "captioning", count_clips(video, fps=settings.fps, frames_per_clip=settings.frames_per_clip)
        ) as advance:
            for clip in session.watch(video):
                right = clip.caption == expected[clip.index]
                exact += right
                if not json:
                    note = "" if right else f"   (script: {expected[clip.index]})"
                    typer.echo(f"{format_time(clip.start)}-{format_time(clip.end)}  {clip.caption}{note}")
                advance()
        seconds = time.perf_counter() - began
        answers = []
        for item in script["questions"]:
            answers.append(_ask(session, item, quiet=json))
        right_answers = sum(
            answer.text == item["answer"] for (answer, _), item in zip(answers, script["questions"], strict=True)
        )
        report = tell(
            engine.store,
            "demo",
            title="rLiVS demo",
            answers=[
                tell_answer(answer, expected=item["answer"], latency=latency)
                for (answer, latency), item in zip(answers, script["questions"], strict=True)
            ],
            expected=expected,
            figures={"seconds a clip": f"{seconds / len(expected):.2f}"},
        )
    page = out / "report.html"
    write_report(report, page)
    summary: dict[str, Any] = {
        "captions": len(expected),
        "captions_exact": exact,
        "answers": len(answers),
        "answers_right": right_answers,
        "report": str(page),
    }
    if json:
        print_json(summary)
        return
    typer.echo(
        f"\n{exact} of {len(expected)} captions and {right_answers} of {len(answers)} answers exactly as scripted."
    )
    messages.print(f"Open the report in a browser: {page}")


def _ask(session: Any, item: dict[str, str], *, quiet: bool) -> tuple[Any, float]:
    began = time.perf_counter()
    if not quiet:
        typer.echo(f"\n? {item['question']}\n> ", nl=False)
    answer = session.ask(item["question"], on_text=None if quiet else lambda piece: typer.echo(piece, nl=False))
    if not quiet:
        typer.echo()
    return answer, time.perf_counter() - began


def _remove_memory(memory: Path) -> None:
    """The demo starts afresh each time: the memory of an earlier demo goes, with SQLite's files beside it."""
    for path in (memory, memory.with_name(memory.name + "-wal"), memory.with_name(memory.name + "-shm")):
        path.unlink(missing_ok=True)
