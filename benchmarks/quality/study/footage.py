"""The study's streams as the library sees them: rendered, encoded to H.264, decoded, sampled, encoded by the tower."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.make_streams import write_video
from benchmarks.quality.world import pictures
from benchmarks.quality.world.asked import Asked, ask_clip
from benchmarks.quality.world.script import CLIP_TICKS, TICK, Stream, clip_times
from benchmarks.quality.world.streams import sample_stream
from benchmarks.quality.world.truth import ClipTruth, stream_truths, told_frames
from rlivs.backbones import Backbone
from rlivs.video import iter_clips

from .progress import steps

COVERED = 0.02


@dataclass
class Footage:
    """Streams with their truths, and of every clip `[streams][clips]` the visual tokens and what they show.

    `tokens [streams, clips, 256, hidden]`; `on_thing [streams, clips, 256]` bool: a thing covers 2 % of the cell;
    `cover [streams, clips, 256]`: the share of the cell that told things cover, for the oracle.
    """

    streams: list[Stream]
    truths: list[list[ClipTruth]]
    tokens: Tensor
    on_thing: np.ndarray
    cover: np.ndarray

    @property
    def clips(self) -> list[tuple[int, int]]:
        return [(s, c) for s, truths in enumerate(self.truths) for c in range(len(truths))]

    def first(self, streams: int) -> Footage:
        """The first streams only."""
        part = slice(0, streams)
        return Footage(self.streams[part], self.truths[part], self.tokens[part], self.on_thing[part], self.cover[part])

    def clip_questions(self, seed: int = 1) -> list[list[Asked]]:
        """Questions about every clip, in the order of `clips`."""
        return [ask_clip(self.streams[s], self.truths[s][c], c, seed) for s, c in self.clips]


def digest(model: torch.nn.Module, *parts: str) -> str:
    """Eight letters that tell models apart, or only those parts of them whose names contain one of `parts`."""
    total = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if not parts or any(part in name for part in parts):
            total.update(name.encode() + value.detach().float().numpy().tobytes())
    return total.hexdigest()[:8]


def film(
    backbone: Backbone, seed: int, streams: int, clips: int, side: int, rate: int, cache: Path, hiding: bool = False
) -> Footage:
    """Streams `(seed, 0 .. streams - 1)`; videos and visual tokens are made once and kept in `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    made = [sample_stream((seed, index), clips, hiding) for index in range(streams)]
    truths = [stream_truths(stream) for stream in made]
    tokens, on_thing, cover = [], [], []
    mark = digest(backbone.model, "vision_tower", "projector")
    for index, stream in enumerate(steps(made, "streams")):
        name = f"{seed}-{index}-{clips}-{side}-{rate}"
        video, encoded = cache / f"{name}.mp4", cache / f"{name}-{mark}.pt"
        if not encoded.exists():
            if not video.exists():
                new = cache / f"new-{os.getpid()}.mp4"
                write_video(stream, new, side=side, rate=rate)
                new.replace(video)
            parts = [
                backbone.encode(clip.frames, clip.times).embeddings
                for clip in iter_clips(video, fps=1 / TICK, frames_per_clip=CLIP_TICKS)
            ]
            torch.save(torch.stack(parts), encoded)
        tokens.append(torch.load(encoded))
        for clip in range(clips):
            truth, times = truths[index][clip], clip_times(clip)
            on_thing.append((pictures.cell_shares(stream, times) > COVERED).reshape(-1))
            told = pictures.cell_shares(stream, times, tuple(thing.name for thing in truth.things))
            told[~told_frames(stream, truth, clip)] = 0
            cover.append(told.reshape(-1))
    shape = (streams, clips, -1)
    return Footage(made, truths, torch.stack(tokens), np.reshape(on_thing, shape), np.reshape(cover, shape))
