"""`rlivs eval`: how good the answers are, on data whose truth is known."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlivs.cli import options, source_tree
from rlivs.cli.outputs import make_folder
from rlivs.cli.terminal import messages, print_json, progress, quiet_libraries, working
from rlivs.errors import InputError

if TYPE_CHECKING:
    from rlivs.evaluation import Question

app = typer.Typer(help="Measure the quality of captions, selection and answers.", no_args_is_help=True)


@app.callback()
def evaluate() -> None:
    """Measure the quality of captions, selection and answers."""


@app.command()
def synthetic(
    model: Annotated[
        str | None,
        typer.Option("--model", help="Checkpoint directory, or tiny-onevision; default: the study's own checkpoint."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Directory for tables and plots.")] = Path("rlivs-quality"),
    micro: Annotated[bool, typer.Option("--micro", help="A few clips only, to see that it runs.")] = False,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads.")] = 1,
    json: options.Json = False,
) -> None:
    """Run the quality study on synthetic streams: every table as CSV, Markdown and plots.

    Needs a source checkout: the synthetic world is not part of the installed package.
    """
    quiet_libraries()
    whole = source_tree.benchmark("quality.study.__main__")
    plans = source_tree.benchmark("quality.study.plan")
    make_folder(out)
    import torch

    from rlivs.backbones.checkpoint import EMBEDDED, embedded_checkpoint

    torch.set_num_threads(threads)
    directory = whole.MODEL if model is None else embedded_checkpoint() if model == EMBEDDED else Path(model)
    whole.study(directory, plans.MICRO if micro else plans.Plan(), out, out / "cache")
    for file in sorted(out.glob("*.csv")):
        with file.open(newline="", encoding="utf-8") as rows:
            for row in csv.DictReader(rows):
                if json:
                    print_json({"table": file.stem, **row})
    if not json:
        messages.print(f"tables and plots in {out}")


@app.command()
def questions(
    file: Annotated[Path, typer.Argument(help="The benchmark's questions: a file, or what its format says.")],
    videos: Annotated[Path, typer.Option("--videos", help="Folder of the videos.")] = Path("."),
    form: Annotated[str, typer.Option("--format", help="Form of the file; docs/evaluation.md lists them.")] = "jsonl",
    out: Annotated[Path, typer.Option("--out", help="File of predictions; what it holds is not asked again.")] = Path(
        "predictions.jsonl"
    ),
    answer_from: Annotated[
        list[str] | None,
        typer.Option("--answer-from", help="memory, recent-frames or auto; may be repeated. Default: memory."),
    ] = None,
    part: Annotated[str, typer.Option("--part", help="Only the videos of part I of N, as I/N (1/8).")] = "1/1",
    memory: options.Memory = Path("eval.db"),
    model: options.Model = options.DEFAULT_MODEL,
    device: options.Device = None,
    fps: options.Fps = None,
    config: options.Config = None,
    set_: options.Set = None,
    json: options.Json = False,
) -> None:
    """Ask a benchmark's questions, each as of its moment, and say how many are answered right.

    Interrupted, it goes on where it was: captions stay in the memory, answers in the predictions.
    """
    settings = options.read_config(config, set_, fps=fps)
    device = options.parse_device(device)
    from rlivs.backbones.checkpoint import CheckpointFiles
    from rlivs.evaluation import (
        answer_key,
        appending,
        ask_all,
        check_same,
        find_videos,
        question_json,
        read_predictions,
        read_questions,
    )
    from rlivs.streaming.recent_frames import check_answer_from

    ways = [check_answer_from(way) for way in dict.fromkeys(answer_from or ["memory"])]
    asked = _part(read_questions(file, form), part)
    places = find_videos(asked, videos)
    rows = read_predictions(out)
    run = {
        "model": CheckpointFiles(model).short_name,
        "options": settings.model_dump(mode="json", exclude_defaults=True),
    }
    expected = [{**question_json(question), **run, "way": way} for question in asked for way in ways]
    check_same(out, rows, expected, ("question", "video", "at", "choices", "answer", "model", "options"))
    answered, wanted = set(map(answer_key, rows)), set(map(answer_key, expected))
    left = len(wanted - answered)
    problems: list[str] = []
    if left:
        quiet_libraries()
        from rlivs.streaming import StreamingVideoQA

        with working("loading the model"):
            engine = StreamingVideoQA.from_pretrained(model, memory=memory, config=settings, device=device)
        with engine, progress(f"asking {file.name}", left) as advance, appending(out, rows) as write:
            told = ask_all(
                engine, asked, places, ways=ways, answered=answered, on_problem=lambda _, said: problems.append(said)
            )
            for prediction in told:
                rows.append({**prediction.to_json(), **run})
                write(rows[-1])
                advance()
    known = [row for row in rows if answer_key(row) in wanted and row["right"] is not None]
    _show(known, "f1", "word F1", json)
    if not json:
        messages.print(f"{len(rows)} predictions in {out}")
    if problems:
        missing = len(wanted - set(map(answer_key, rows)))
        raise InputError(f"{missing} answers are missing; of {len(problems)} videos the first: {problems[0]}")


@app.command()
def judge(
    predictions: Annotated[Path, typer.Argument(help="What `rlivs eval questions` wrote.")],
    server: Annotated[str, typer.Option("--server", help="An OpenAI-compatible server's address, up to /v1.")],
    judge: Annotated[str, typer.Option("--judge", help="The judging model's name on that server.")],
    out: Annotated[Path, typer.Option("--out", help="File of verdicts; what it holds is not judged again.")] = Path(
        "judged.jsonl"
    ),
    key: Annotated[str | None, typer.Option("--key", envvar="OPENAI_API_KEY", help="The server's key.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Requests at one time.")] = 8,
    json: options.Json = False,
) -> None:
    """Let a language model judge open answers: how many are right, and a score from 0 to 5 each."""
    from rlivs.evaluation import answer_key, appending, check_same, judge_all, read_predictions

    if not predictions.exists():
        raise InputError(f"there is no file {predictions}; make it with `rlivs eval questions`")
    rows = [row for row in read_predictions(predictions) if row["f1"] is not None]
    if not rows:
        raise InputError(f"{predictions} has no open question with an answer; a judge has nothing to say")
    verdicts = read_predictions(out, judged=True)
    expected = [{**row, "judge": judge} for row in rows]
    check_same(out, verdicts, expected, ("pred", "question", "answer", "model", "options", "judge"))
    done, asked = set(map(answer_key, verdicts)), set(map(answer_key, expected))
    left = [row for row in expected if answer_key(row) not in done]
    with progress(f"judging {predictions.name}", len(left)) as advance, appending(out, verdicts, judged=True) as write:
        for row, verdict in judge_all(left, server=server, model=judge, key=key, workers=workers):
            if verdict is not None:
                verdicts.append({**row, "right": verdict.correct, "score": verdict.score})
                write(verdicts[-1])
            advance()
    known = [row for row in verdicts if answer_key(row) in asked]
    _show(known, "score", "score", json)
    if not json:
        unread = len(rows) - len(known)
        lost = f"; {unread} replies held no verdict, start again to ask once more" if unread else ""
        messages.print(f"{len(known)} of {len(rows)} answers judged by {judge}, in {out}{lost}")


def _part(questions: list[Question], part: str) -> list[Question]:
    """Those about every N-th video, from the I-th on."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", part)
    if match is None or not 1 <= (number := int(match[1])) <= (parts := int(match[2])):
        raise InputError(f"--part {part}: write I/N, such as 1/8 for the first of eight parts")
    videos = list(dict.fromkeys(question.video for question in questions))[number - 1 :: parts]
    return [question for question in questions if question.video in set(videos)]


def _show(rows: list[dict[str, Any]], measure: str, name: str, json: bool) -> None:
    """How many of these predictions are right, by way and kind, and the mean of their `measure`."""
    from rlivs.evaluation import summary

    for score in summary((row["way"], row["kind"], row["right"], row[measure]) for row in rows):
        told = vars(score).copy()
        mean = told.pop("mean")
        if json:
            print_json({**told, measure: mean})
        else:
            typer.echo(
                f"{score.way}, {score.kind}: {score.right:.1f} % of {score.questions} right "
                f"({score.low:.1f} to {score.high:.1f})" + ("" if mean is None else f", {name} {mean:.2f}")
            )
