"""`rlivs ask`: a question to the caption memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlivs.cli import options
from rlivs.cli.terminal import print_json, quiet_libraries, working


def ask(
    question: Annotated[str, typer.Argument(help="The question, in quotes.")],
    memory: options.Memory = Path("captions.db"),
    stream: options.Stream = None,
    at: Annotated[
        str | None, typer.Option("--at", help="Moment of the question (1:20); later captions are not used.")
    ] = None,
    model: options.Model = options.DEFAULT_MODEL,
    device: options.Device = None,
    config: options.Config = None,
    set_: options.Set = None,
    json: options.Json = False,
) -> None:
    """Answer a question from the captions of a stream, with the moments it rests on."""
    settings = options.read_config(config, set_)
    device = options.parse_device(device)
    from rlivs.memory.store import CaptionStore
    from rlivs.streaming.answering import check_question
    from rlivs.times import format_time, parse_time

    check_question(question)
    moment = parse_time(at) if at is not None else None
    # The memory is read before the model is loaded: a wrong path should not take a minute to be found.
    with CaptionStore.open(memory, create=False) as store:
        name = options.the_only_stream([info.stream for info in store.streams()], stream)
        store.stream(name)
    quiet_libraries()
    from rlivs.streaming import StreamingVideoQA

    with working("loading the model"):
        engine = StreamingVideoQA.from_pretrained(model, memory=memory, config=settings, device=device)
    with engine:
        show = None if json else (lambda piece: typer.echo(piece, nl=False))
        answer = engine.recall(name).ask(question, at=moment, on_text=show)
        if json:
            print_json(
                {
                    "question": answer.question,
                    "answer": answer.text,
                    "at": answer.at,
                    "citations": [
                        {"index": c.index, "start": c.start, "end": c.end, "caption": c.text} for c in answer.citations
                    ],
                }
            )
            return
        typer.echo()
        typer.echo(f"\nfrom {len(answer.citations)} captions up to {format_time(answer.at)}:")
        for cited in answer.citations:
            typer.echo(f"  {format_time(cited.start)}-{format_time(cited.end)}  {cited.text}")
