"""`rlivs watch`: a live view of any source, with questions."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from rlivs.cli import options
from rlivs.cli.terminal import messages, quiet_libraries, working
from rlivs.errors import InputError


def watch(
    source: Annotated[
        str, typer.Argument(help="A video file, webcam:0, rtsp://, http(s):// (HLS too), udp:// or tcp:// (MPEG-TS).")
    ],
    memory: options.Memory = Path("captions.db"),
    stream: options.NewStream = None,
    model: options.Model = options.DEFAULT_MODEL,
    device: options.Device = None,
    fps: options.Fps = None,
    clock: options.Clock = None,
    config: options.Config = None,
    set_: options.Set = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stream that was interrupted.")] = False,
    answer_from: Annotated[
        str, typer.Option("--answer-from", help="auto, memory, or recent-frames: what questions are answered from.")
    ] = "auto",
    timeout: Annotated[
        float,
        typer.Option("--timeout", min=0.1, help="Seconds of silence after which a live source is connected again."),
    ] = 10.0,
    give_up_after: Annotated[
        float | None,
        typer.Option("--give-up-after", help="Seconds without a picture after which watching ends; default never."),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="An option of FFmpeg for a live source as NAME=VALUE.")
    ] = None,
    keep_captions: Annotated[
        int | None, typer.Option("--keep-captions", min=1, help="Keep only the newest N captions.")
    ] = None,
    keep_hours: Annotated[
        float | None, typer.Option("--keep-hours", min=0, help="Keep only the captions of the last N hours.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Caption a source as it comes, show how it keeps up, answer questions typed meanwhile.

    A live source keeps to the present: clips there is no time for are dropped, counted, and marked as gaps in memory.
    Type a question and Return; Ctrl-D ends. Without a terminal, questions are read from standard input line by line.
    """
    settings = options.read_config(config, set_, fps=fps, clock=clock)
    device = options.parse_device(device)
    options.check_new_stream(stream, resume=resume)
    from rlivs.streaming.recent_frames import check_answer_from
    from rlivs.video.live import open_source

    answering = check_answer_from(answer_from)
    opened = open_source(
        source, timeout=timeout, give_up_after=give_up_after, options=options.assignments("--option", option)
    )
    if clock and not opened.live:
        raise InputError(f"{source} is no live source and has no clock; use: rlivs caption {source} --starts-at MOMENT")
    quiet_libraries()
    from rlivs.cli.watch_view import JsonView, LinesView, TerminalView, is_terminal
    from rlivs.streaming import StreamingVideoQA
    from rlivs.streaming.service import Retention, StreamService

    name = stream or (options.name_of(source) if opened.live else Path(source).stem)
    with working("loading the model"):
        engine = StreamingVideoQA.from_pretrained(model, memory=memory, config=settings, device=device)
    retention = Retention(keep_captions, None if keep_hours is None else 3600 * keep_hours)
    with engine, StreamService(engine, retention=retention) as service:
        # A file's memory names its path, as `rlivs caption` does, so that either may continue it.
        service.create(name, source=source if opened.live else _absolute(source), resume=resume)
        newest = engine.store.log(name, engine.store.last_index(name) - 1)  # the last caption, and gaps behind it
        after = max((entry.serial for entry in newest), default=-1)
        service.attach(name, opened)
        kind = JsonView if json else TerminalView if is_terminal() else LinesView
        try:
            kind(service, name, after, answering).run()
        except KeyboardInterrupt:
            # The streams are closed now. A second Ctrl-C does not wait for that: what was announced is stored.
            signal.signal(signal.SIGINT, lambda *_: os._exit(130))
            raise
        status = service.status(name)
        if status.state == "failed":
            raise InputError(status.last_error)
        if not json:
            messages.print(f"{status.clips} clips of stream '{name}' in {memory}")


def _absolute(source: str) -> str:
    return source if "://" in source else str(Path(source).resolve())
