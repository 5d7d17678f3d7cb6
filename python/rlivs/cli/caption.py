"""`rlivs caption`: video files into the caption memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlivs.cli import options
from rlivs.cli.outputs import check_file
from rlivs.cli.terminal import messages, print_json, progress, quiet_libraries, working
from rlivs.errors import InputError


def caption(
    videos: Annotated[list[str], typer.Argument(metavar="VIDEO...", help="The video file, or several.")],
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
    """Caption videos clip by clip, remember what matters, print captions as they come.

    Several videos become several streams, one after the other, or side by side: --set captions_at_once=8.
    """
    settings = options.read_config(config, set_, fps=fps)
    device = options.parse_device(device)
    options.check_new_stream(stream, resume=resume)
    from rlivs.clock import parse_date_time
    from rlivs.video import check_video, count_clips

    start = None if starts_at is None else parse_date_time(starts_at)
    named = _streams(videos, stream)
    alone = len(named) == 1
    if not alone and (start is not None or report is not None):
        raise InputError("--starts-at and --report are for one video; caption each by itself")
    for video in videos:
        check_video(video)
    if report is not None:
        check_file(report)
    quiet_libraries()
    from rlivs.streaming import StreamingVideoQA
    from rlivs.streaming.retelling import tell
    from rlivs.streaming.videos import caption_videos

    with working("loading the model"):
        engine = StreamingVideoQA.from_pretrained(model, memory=memory, config=settings, device=device)
    failed = []
    with engine:
        known = {info.stream: engine.store.last_index(info.stream) + 1 for info in engine.store.streams()}
        there = next((name for name in named if name in known), None)
        if there is not None and not resume and not alone:
            raise InputError(f"the memory already has a stream '{there}'; use --resume, or choose another memory")
        counts = [count_clips(v, fps=settings.fps, frames_per_clip=settings.frames_per_clip) for v in videos]
        total = None if None in counts else sum(count or 0 for count in counts)
        done = sum(known.get(name, 0) for name in named)
        what = Path(videos[0]).name if alone else f"{len(videos)} videos"
        captioned = caption_videos(engine, named, resume=resume, starts_at=start)
        with progress(f"captioning {what}", total, done) as advance:
            for session, clip in captioned:
                if isinstance(clip, Exception):
                    if alone or not isinstance(clip, InputError):
                        raise clip
                    messages.print(f"rlivs: error: {session.name}: {clip}", markup=False)
                    failed.append(session.name)
                    continue
                if json:
                    print_json(
                        {
                            "stream": session.name,
                            "index": clip.index,
                            "start": clip.start,
                            "end": clip.end,
                            **session.clock.stamps(clip.start, clip.end),
                            "text": clip.caption,
                            "selected": list(clip.selected),
                        }
                    )
                else:
                    span = session.clock.tell_span(clip.start, clip.end)
                    typer.echo(f"{span}  {clip.caption}" if alone else f"{session.name}  {span}  {clip.caption}")
                advance()
        if report is not None:
            from rlivs.reports import write_report

            write_report(tell(engine.store, next(iter(named)), title=what), report)
            messages.print(f"report: {report}")
        if not json:
            clips = sum(engine.store.last_index(name) + 1 for name in named)
            of = f"stream '{next(iter(named))}'" if alone else f"{len(named)} streams"
            messages.print(f"{clips} clips of {of} in {memory}")
    if failed:
        raise InputError(f"{len(failed)} of {len(named)} videos were not captioned to their ends: {', '.join(failed)}")


def _streams(videos: list[str], stream: str | None) -> dict[str, str]:
    """The videos by the names of their streams."""
    if stream is not None:
        if len(videos) > 1:
            raise InputError("--stream names one video's stream; leave it out for several")
        return {stream: videos[0]}
    named: dict[str, str] = {}
    for video in videos:
        name = Path(video).stem
        if name in named:
            raise InputError(f"{named[name]} and {video} would both be stream '{name}'; caption one with --stream NAME")
        named[name] = video
    return named
