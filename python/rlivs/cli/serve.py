"""`rlivs serve`: streams over HTTP, with a page to watch them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from rlivs.cli import options
from rlivs.cli.terminal import messages, quiet_libraries, working
from rlivs.errors import InputError


def serve(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="What to watch from the start: NAME=SOURCE or SOURCE (a file, webcam:0, rtsp://, ...)."),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0 lets other machines in, with a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen on; 0: any free one.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="RLIVS_TOKEN",
            help="What clients must send, 16 characters or more; made up and shown if --host needs one.",
        ),
    ] = None,
    root: Annotated[
        list[Path] | None, typer.Option("--root", help="Folder whose videos clients may open; may be repeated.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            help="Host whose videos clients may open: NAME, *.NAME, or * for any public one; may be repeated.",
        ),
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Allowed hosts may also be in the private network.")
    ] = False,
    max_streams: Annotated[int, typer.Option("--max-streams", help="Streams open at one time.")] = 16,
    memory: options.Memory = Path("captions.db"),
    model: options.Model = options.DEFAULT_MODEL,
    device: options.Device = None,
    fps: options.Fps = None,
    clock: options.Clock = None,
    config: options.Config = None,
    set_: options.Set = None,
) -> None:
    """Serve streams: an OpenAI-compatible API, session routes, metrics, and a page at the server's address."""
    settings = options.read_config(config, set_, fps=fps, clock=clock)
    device = options.parse_device(device)
    _check_installed()
    from rlivs.serving.settings import ServeSettings, make_settings, make_token

    made_up = token is None and not ServeSettings.is_loopback(host)
    serving = make_settings(
        host=host,
        port=port,
        token=make_token() if made_up else token,
        roots=tuple(root or ()),
        hosts=tuple(allow_host or ()),
        allow_private=allow_private,
        max_streams=max_streams,
    )
    named = [_name_of(source) for source in sources or []]
    quiet_libraries()
    from rlivs.serving.server import run_server
    from rlivs.streaming import StreamingVideoQA

    with working("loading the model"):
        engine = StreamingVideoQA.from_pretrained(model, memory=memory, config=settings, device=device)

    def ready(address: str) -> None:
        messages.print(f"rlivs serves {address}")
        if made_up:
            messages.print(f"with the token: {address}/#token={serving.token}")

    with engine:
        run_server(engine, serving, named, ready=ready)


def _check_installed() -> None:
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"rlivs serve needs {error.name}; install the package with its extra: pip install '.[serve]'"
        ) from None


def _name_of(source: str) -> tuple[str, str]:
    """`NAME=SOURCE` in its parts; without a name the source's own is one. Raises InputError."""
    import re

    name, sign, rest = source.partition("=")
    if sign and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        return name, _whole(rest)
    return options.name_of(source), _whole(source)


def _whole(source: str) -> str:
    """A file's path in full, so that the memory knows it from anywhere; anything else as it is."""
    return os.path.realpath(source) if os.path.isfile(source) else source
