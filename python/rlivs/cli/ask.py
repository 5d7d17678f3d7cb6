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
        str | None,
        typer.Option(
            "--at",
            help="Moment of the question (1:20; by a clock 14:05): later captions are not used, 'ago' counts from it. "
            "Default: the stream's end.",
        ),
    ] = None,
    model: options.Model = options.DEFAULT_MODEL,
    device: options.Device = None,
    config: options.Config = None,
    set_: options.Set = None,
    json: options.Json = False,
) -> None:
    """Answer a question from the captions of a stream, and list those the model was given."""
    settings = options.read_config(config, set_)
    device = options.parse_device(device)
    from rlivs.memory.store import CaptionStore
    from rlivs.streaming.answering import check_question

    check_question(question)
    # The memory is read before the model is loaded: a wrong path should not take a minute to be found.
    with CaptionStore.open(memory, create=False) as store:
        name = options.the_only_stream([info.stream for info in store.streams()], stream)
        clock = store.clock(name)
        moment = None if at is None else clock.parse(at, store.last_end(name))
    quiet_libraries()
    from rlivs.cli.answer_json import answer_json
    from rlivs.streaming import StreamingVideoQA

    with working("loading the model"):
        engine = StreamingVideoQA.from_pretrained(model, memory=memory, config=settings, device=device)
    with engine:
        show = None if json else (lambda piece: typer.echo(piece, nl=False))
        answer = engine.recall(name).ask(question, at=moment, on_text=show)
        if json:
            print_json(answer_json(answer))
            return
        typer.echo()
        typer.echo(f"\nfrom {len(answer.citations)} captions up to {clock.tell(answer.at)}:")
        for cited in answer.citations:
            typer.echo(f"  {clock.tell_span(cited.start, cited.end)}  {cited.text}")
