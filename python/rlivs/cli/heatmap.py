"""`rlivs heatmap`: where the caption looked, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlivs.cli import options
from rlivs.cli.terminal import messages, print_json
from rlivs.errors import InputError


def heatmap(
    clip: Annotated[int, typer.Argument(help="Index of the clip, from 0.")],
    out: Annotated[Path, typer.Option("--out", help="PNG file to write.")] = Path("heatmap.png"),
    memory: options.Memory = Path("captions.db"),
    stream: options.Stream = None,
    json: options.Json = False,
) -> None:
    """Draw a captioned clip's frames with its scores as heat and its kept tokens outlined.

    The video must still be where it was captioned; live streams are not kept as video and have no heat map.
    """
    from rlivs.memory.store import CaptionStore

    with CaptionStore.open(memory, create=False) as store:
        name = options.the_only_stream([info.stream for info in store.streams()], stream)
        known = [caption.index for caption in store.captions(name)]
        if not known:
            raise InputError(f"stream '{name}' has no clip yet; draw one when it is captioned")
        if clip not in known:
            raise InputError(f"stream '{name}' has no clip {clip}; it has clips {known[0]} to {known[-1]}")
        from rlivs.reports import heatmap_image
        from rlivs.streaming.retelling import tell_clips

        clock = store.clock(name)
        told = next(tell_clips(store, name, first=clip), None)
        if told is None:
            raise InputError(
                f"{store.stream(name).source} has no clip {clip}: it is shorter than the memory of stream '{name}', or "
                "another film; put back the one that was captioned"
            )
    image = heatmap_image(
        told.frames,
        told.scores,
        told.selected,
        told.grid,
        times=told.times,
        clock=clock,
        title=f"Clip {told.index}: {told.caption}",
    )
    try:
        image.save(out, format="PNG")
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror or error}; give a writable path") from None
    if json:
        print_json(
            {
                "stream": name,
                "index": clip,
                "text": told.caption,
                "image": str(out),
                "selected": list(told.selected),
            }
        )
    else:
        messages.print(f"clip {clip} of stream '{name}' in {out}: {told.caption}")
