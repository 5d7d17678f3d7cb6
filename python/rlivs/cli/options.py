"""Options that several commands take, with one name and one meaning."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from rlivs.config import PipelineConfig, load_config
from rlivs.errors import InputError

Model = Annotated[
    str,
    typer.Option("--model", help="Checkpoint directory, hub name, or tiny-onevision (ships with the package)."),
]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1, ...; default: the first GPU, else the CPU.")
]
Memory = Annotated[Path, typer.Option("--memory", help="The caption memory, an SQLite file.")]
Stream = Annotated[
    str | None,
    typer.Option("--stream", help="Which stream; may be left out where the memory holds only one."),
]
NewStream = Annotated[
    str | None,
    typer.Option("--stream", help="Name of the stream; default: the last part of the path or address."),
]
Config = Annotated[Path | None, typer.Option("--config", help="YAML file of options; the command line wins over it.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Any option of the pipeline (docs/options.md) as NAME=VALUE, e.g. --set keep_fraction=0.12."
    ),
]
Fps = Annotated[
    float | None,
    typer.Option("--fps", help="Frames sampled per second of video; default 0.5 (tiny-onevision was trained on 2)."),
]
Clock = Annotated[
    bool | None,
    typer.Option("--clock", help="Tell moments by the local wall clock, for live streams that are new."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output.")]

DEFAULT_MODEL = "tiny-onevision"


def read_config(path: Path | None, assignments: list[str] | None, **options: Any) -> PipelineConfig:
    """The config file, then `--set NAME=VALUE`, then the named options. Raises InputError."""
    import yaml

    values: dict[str, Any] = {}
    for assignment in assignments or []:
        name, sign, value = assignment.partition("=")
        if not sign:
            raise InputError(f"--set {assignment}: write NAME=VALUE")
        try:
            values[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"--set {assignment}: the value is not valid YAML") from None
    values.update({name: value for name, value in options.items() if value is not None})
    return load_config(path, values)


def assignments(option: str, given: list[str] | None) -> dict[str, str]:
    """NAME=VALUE texts as a mapping. Raises InputError."""
    pairs = {}
    for assignment in given or []:
        name, sign, value = assignment.partition("=")
        if not sign:
            raise InputError(f"{option} {assignment}: write NAME=VALUE")
        pairs[name.strip()] = value
    return pairs


def name_of(source: str) -> str:
    """A stream's name where none is given: the last part of a path or address, its ending left off.

    Raises InputError where nothing is left of it.
    """
    whole = source.partition("?")[0].rstrip("/")
    scheme, sign, place = whole.partition("://")
    last = Path(whole).stem if "/" in place or not sign else f"{scheme}-{place}"
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-._")
    if not name:
        raise InputError(f"{source} has no name of its own; give it one: --stream NAME, or NAME={source} to serve")
    return name[:64]


def check_new_stream(stream: str | None, *, resume: bool) -> None:
    """Raises InputError for a name no address of a server can hold; a stream that has one may still be resumed."""
    if stream is not None and "/" in stream and not resume:
        raise InputError(f"--stream {stream}: a stream's name has no slash; use {stream.strip('/').replace('/', '-')}")


def the_only_stream(streams: list[str], chosen: str | None) -> str:
    """The chosen stream, or the memory's only one. Raises InputError when that leaves a choice."""
    if chosen is not None:
        return chosen
    if len(streams) == 1:
        return streams[0]
    if not streams:
        raise InputError("the memory holds no stream; fill it with `rlivs caption VIDEO --memory FILE`")
    raise InputError(f"the memory holds several streams; choose one with --stream: {', '.join(streams)}")


def parse_device(device: str | None) -> str | None:
    """`device` if torch knows it and has it. Raises InputError."""
    if device is None:
        return None
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise InputError(f"no device '{device}'; use cpu, cuda or cuda:N") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"no CUDA device for '{device}'; use --device cpu, or look at `rlivs doctor`")
    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError):  # meta, which holds no values; a GPU's number too high; a torch without it
        raise InputError(f"nothing can be computed on '{device}' here; use cpu, cuda or cuda:N") from None
    return device
