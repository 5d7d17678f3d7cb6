"""`rlivs memory`: what a caption memory holds, out of it, and less of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from rlivs.cli import options
from rlivs.cli.terminal import messages, print_json
from rlivs.clock import Clock
from rlivs.errors import InputError
from rlivs.memory.store import Caption, CaptionStore
from rlivs.memory.stream_log import LogEntry, StoredGap

app = typer.Typer(help="Look at a caption memory, export it, prune it, delete streams.", no_args_is_help=True)

_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@app.command(name="list")
def list_(memory: options.Memory = Path("captions.db"), json: options.Json = False) -> None:
    """List the streams of a memory."""
    with CaptionStore.open(memory, create=False) as store:
        for info in store.streams():
            captions, start, end = store.extent(info.stream)
            gaps = store.gaps(info.stream)
            if json:
                print_json(
                    {
                        "stream": info.stream,
                        "source": info.source,
                        "captions": captions,
                        "gaps": len(gaps),
                        "start": start,
                        "end": end,
                        **store.clock(info.stream).stamps(start, end),
                        "embedder": info.embedder_id,
                        "settings": info.settings,
                    }
                )
            else:
                span = store.clock(info.stream).tell_span(start, end) if captions else "empty"
                gap_note = f", {len(gaps)} gaps" if gaps else ""
                typer.echo(f"{info.stream}  {captions} captions{gap_note}  {span}  {info.source}".rstrip())


@app.command()
def show(
    memory: options.Memory = Path("captions.db"),
    stream: options.Stream = None,
    from_: Annotated[str | None, typer.Option("--from", help="Moment to begin at (1:20; by a clock 14:05).")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Moment to end at.")] = None,
    json: options.Json = False,
) -> None:
    """Show a stream's captions and gaps in order."""
    with CaptionStore.open(memory, create=False) as store:
        name = options.the_only_stream([info.stream for info in store.streams()], stream)
        clock, now = store.clock(name), store.last_end(name)
        start = clock.parse(from_, now) if from_ is not None else 0.0
        end = clock.parse(to, now) if to is not None else float("inf")
        for entry in store.entries(name):
            if entry.item.end < start or entry.item.start >= end:
                continue
            if json:
                print_json(_as_json(entry, clock))
            else:
                item = entry.item
                text = item.text if isinstance(item, Caption) else f"-- no picture: {item.reason} --"
                typer.echo(f"{clock.tell_span(item.start, item.end)}  {text}")


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="File to write.")],
    memory: options.Memory = Path("captions.db"),
    stream: options.Stream = None,
    form: Annotated[
        Literal["jsonl", "srt"] | None, typer.Option("--format", help="jsonl or srt; default: by the file's ending.")
    ] = None,
) -> None:
    """Write a stream's captions to a file: JSON lines with everything, or subtitles (SRT)."""
    chosen = form or out.suffix.lstrip(".").lower()
    if chosen not in ("jsonl", "srt"):
        raise InputError(f"'{out}' ends in no known format; name it .jsonl or .srt, or give --format")
    import json as json_format

    with CaptionStore.open(memory, create=False) as store:
        name = options.the_only_stream([info.stream for info in store.streams()], stream)
        clock = store.clock(name)
        if chosen == "jsonl":
            lines = [json_format.dumps(_as_json(entry, clock), ensure_ascii=False) for entry in store.entries(name)]
        else:
            captions = (entry.item for entry in store.entries(name) if isinstance(entry.item, Caption))
            lines = [
                f"{number}\n{_subtitle_time(c.start)} --> {_subtitle_time(c.end)}\n{c.text}\n"
                for number, c in enumerate(captions, start=1)
            ]
    try:
        with out.open("w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}; give a writable path") from None
    messages.print(f"{len(lines)} entries of stream '{name}' in {out}")


@app.command()
def prune(
    memory: options.Memory = Path("captions.db"),
    stream: options.Stream = None,
    keep_last: Annotated[int | None, typer.Option("--keep-last", min=1, help="Keep the newest captions only.")] = None,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", help="Delete what ended this long before the stream's end: 90m, 24h, 7d."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Delete old captions and give their room back. The newest caption and the visual memory stay."""
    if keep_last is None and older_than is None:
        raise InputError("nothing says what to delete; give --keep-last or --older-than")
    age = None if older_than is None else _seconds(older_than)
    with CaptionStore.open(memory, create=False) as store:
        name = options.the_only_stream([info.stream for info in store.streams()], stream)
        before = None if age is None else store.last_end(name) - age
        deleted = store.prune(name, keep_last=keep_last, ended_before=before)
        store.compact()
    if json:
        print_json({"stream": name, "deleted": deleted})
    else:
        messages.print(f"{deleted} captions of stream '{name}' deleted")


@app.command()
def delete(
    stream: Annotated[str, typer.Option("--stream", help="Which stream.")],
    memory: options.Memory = Path("captions.db"),
    json: options.Json = False,
) -> None:
    """Delete a stream with all that is remembered of it, and give its room back."""
    with CaptionStore.open(memory, create=False) as store:
        deleted = store.delete_stream(stream)
        store.compact()
    if json:
        print_json({"stream": stream, "deleted": deleted})
    else:
        messages.print(f"stream '{stream}' with its {deleted} captions deleted")


def _as_json(entry: LogEntry[Caption | StoredGap], clock: Clock) -> dict[str, object]:
    item = entry.item
    common = {"serial": entry.serial, "start": item.start, "end": item.end, **clock.stamps(item.start, item.end)}
    if isinstance(item, StoredGap):
        return {"kind": "gap", **common, "reason": item.reason}
    return {
        "kind": "caption",
        **common,
        "index": item.index,
        "text": item.text,
        "num_tokens": item.num_tokens,
        "selected": list(item.selected),
    }


def _seconds(age: str) -> float:
    match = _AGE.fullmatch(age.strip())
    if match is None:
        raise InputError(f"'{age}' is no age; write a number and s, m, h or d, such as 24h")
    return float(match[1]) * _UNITS[match[2]]


def _subtitle_time(seconds: float) -> str:
    """`HH:MM:SS,mmm`."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d},{milliseconds:03d}"
