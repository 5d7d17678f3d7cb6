"""`rlivs caption`: a video file into the caption memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlivs.cli import options
from rlivs.cli.terminal import messages, print_json, progress, quiet_libraries, working


def caption(
    video: Annotated[str, typer.Argument(help="The video file.")],
    memory: options.Memory = Path("captions.db"),
    stream: options.NewStream = None,
    model: options.Model = options.DEFAULT_MODEL,
    device: options.Device = None,
    fps: options.Fps = None,
    config: options.Config = None,
    set_: options.Set = None,
    starts_at: Annotated[
        str | None,
        typer.Option("--starts-at", help="When the video begins, 2031-05-04 14:05:00: moments go by that clock."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stream that was interrupted.")] = False,
    report: Annotated[Path | None, typer.Option("--report", help="Also write an HTML report to this file.")] = None,
    json: options.Json = False,
) -> None:
    """Caption a video clip by clip, remember what matters, print captions as they come."""
    settings = options.read_config(config, set_, fps=fps)
    device = options.parse_device(device)
    from rlivs.clock import parse_date_time
    from rlivs.video import check_video, count_clips

    start = None if starts_at is None else parse_date_time(starts_at)
    check_video(video)
    quiet_libraries()
    from rlivs.streaming import StreamingVideoQA
    from rlivs.streaming.retelling import tell

    with working("loading the model"):
        engine = StreamingVideoQA.from_pretrained(model, memory=memory, config=settings, device=device)
    with engine:
        name = stream or Path(video).stem
        session = engine.open(name, source=str(Path(video).resolve()), resume=resume, starts_at=start)
        total = count_clips(video, fps=settings.fps, frames_per_clip=settings.frames_per_clip)
        with progress(f"captioning {Path(video).name}", total, session.next_clip) as advance:
            for clip in session.watch(video):
                if json:
                    print_json(
                        {
                            "stream": name,
                            "index": clip.index,
                            "start": clip.start,
                            "end": clip.end,
                            **session.clock.stamps(clip.start, clip.end),
                            "text": clip.caption,
                            "selected": list(clip.selected),
                        }
                    )
                else:
                    typer.echo(f"{session.clock.tell_span(clip.start, clip.end)}  {clip.caption}")
                advance()
        if report is not None:
            from rlivs.reports import write_report

            write_report(tell(engine.store, name, title=Path(video).name), report)
            messages.print(f"report: {report}")
        if not json:
            messages.print(f"{session.next_clip} clips of stream '{name}' in {memory}")
