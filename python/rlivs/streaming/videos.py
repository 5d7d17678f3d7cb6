"""Several video files, each a stream of its own, captioned side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from rlivs.backbones import VisualTokens
from rlivs.errors import InputError
from rlivs.streaming.ahead import clips_ahead
from rlivs.streaming.captioning import CaptionedClip
from rlivs.streaming.engine import StreamingVideoQA
from rlivs.streaming.session import Session, process_together
from rlivs.video import VideoClip

Clips = Generator[tuple[VideoClip, VisualTokens | None], None, None]


def caption_videos(
    engine: StreamingVideoQA,
    videos: Mapping[str, str | Path],
    *,
    resume: bool = False,
    starts_at: datetime | None = None,
) -> Iterator[tuple[Session, CaptionedClip | Exception]]:
    """Caption video files as the streams they are mapped from, in this order, each to its end.

    Up to the engine's `captions_at_once` of them go side by side, and the next one takes the place of one that has
    ended. Gives each clip with its session, once it is committed. A video that fails gives what it raised, as its last,
    and the others go on. resume, starts_at: as in `engine.open`. Raises InputError for a stream that cannot be opened.
    """
    waiting = deque(videos.items())
    going: dict[Session, Clips] = {}
    try:
        while waiting or going:
            while waiting and len(going) < engine.config.captions_at_once:
                name, path = waiting.popleft()
                source = str(Path(path).resolve())
                session = engine.open(name, source=source, resume=resume, starts_at=starts_at)
                going[session] = clips_ahead(session.unseen_clips(path), engine.backbone)
            turns = []
            for session, clips in list(going.items()):
                try:
                    clip, visual = next(clips)
                    turns.append((session, clip, visual))
                except StopIteration:
                    del going[session]
                except InputError as error:
                    del going[session]
                    yield session, error
            for (session, _, _), outcome in zip(turns, process_together(turns) if turns else (), strict=True):
                if isinstance(outcome, Exception):
                    going.pop(session).close()
                yield session, outcome
    finally:
        for clips in going.values():
            clips.close()
