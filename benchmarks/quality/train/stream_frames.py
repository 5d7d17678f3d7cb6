"""Rendered training streams: frames as a camera or a video file gives them, and what is in each of their cells."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.video import encode, read_frames, shrink
from benchmarks.quality.world import grammar, pictures
from benchmarks.quality.world.script import TICK, Stream, clip_times
from benchmarks.quality.world.streams import sample_stream

from .augment import augment
from .model import CELLS, FRAME_SIZE, FRAMES_PER_CLIP, TOKENS_PER_FRAME
from .tower import SEEN

STREAM_CLIPS = 24
HIDING_FROM = 200  # number of the first training stream that is made for memory
ENCODED_SHARE = 0.75  # of the streams: drawn larger, through H.264, and shrunk, as the library reads videos
VIDEO_SIDE = 128


@dataclass
class Rendered:
    """`n` clips in order; per cell the share of each colour and of the box, and the thing that covers it most."""

    frames: Tensor  # [n, 16, 64, 64, 3] uint8
    share: Tensor  # [n, 16, 16, 7] float16: six colours and the box
    colour: Tensor  # [n, 16, 16] int8, -1 where no thing covers much
    shape: Tensor  # [n, 16, 16] int8
    offset: Tensor  # [n, 16, 16, 2] float16: the thing's centre from the cell's, in cells

    def save(self, path: Path) -> None:
        torch.save(vars(self), path)

    @staticmethod
    def load(paths: list[Path]) -> Rendered:
        parts = [torch.load(path, mmap=True) for path in paths]
        return Rendered(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def seen_frames(stream: Stream, times: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Frames `[n, 64, 64, 3]` uint8 at `times`, with the changes that a codec makes, or cameras."""
    if rng.random() < ENCODED_SHARE:
        with tempfile.TemporaryDirectory() as directory:
            path, quality = Path(directory) / "stream.mp4", int(rng.integers(20, 27))
            encode(
                pictures.frames(stream, times, VIDEO_SIDE), path, side=VIDEO_SIDE, rate=round(1 / TICK), quality=quality
            )
            return shrink(read_frames(path), FRAME_SIZE)
    raw = np.stack(list(pictures.frames(stream, times, FRAME_SIZE)))
    raw = raw.reshape(stream.clips, FRAMES_PER_CLIP, FRAME_SIZE, FRAME_SIZE, 3)
    return torch.cat([augment(clip, rng) for clip in raw])


def render_stream(stream: Stream, rng: np.random.Generator) -> Rendered:
    """All clips of a stream at the model's frame size."""
    times = np.concatenate([clip_times(clip) for clip in range(stream.clips)])
    changed = seen_frames(stream, times, rng).view(stream.clips, FRAMES_PER_CLIP, FRAME_SIZE, FRAME_SIZE, 3)
    axis = (np.arange(CELLS) + 0.5) / CELLS
    cells = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    count = len(times)
    share = np.zeros((count, TOKENS_PER_FRAME, len(grammar.COLOURS) + 1), np.float16)
    colour = np.full((count, TOKENS_PER_FRAME), -1, np.int8)
    shape = np.full((count, TOKENS_PER_FRAME), -1, np.int8)
    offset = np.zeros((count, TOKENS_PER_FRAME, 2), np.float16)
    grid = (np.arange(8 * CELLS) + 0.5) / (8 * CELLS)
    points = np.stack(np.meshgrid(grid, grid), -1)
    for row, time in enumerate(times):
        shot = stream.shots[stream.shot_at(time)]
        largest = np.full(TOKENS_PER_FRAME, SEEN)
        for actor, mask in zip(shot.actors, pictures.masks(stream, time, 8 * CELLS).values(), strict=True):
            cover = mask.reshape(CELLS, 8, CELLS, 8).mean(axis=(1, 3)).reshape(-1)
            share[row, :, grammar.COLOURS.index(actor.colour)] = cover
            most = cover >= largest
            largest[most] = cover[most]
            colour[row, most] = grammar.COLOURS.index(actor.colour)
            shape[row, most] = grammar.SHAPES.index(actor.shape)
            centre = actor.centres(np.array([time - shot.start]))[0]
            offset[row, most] = ((centre - cells) * CELLS)[most]
        if shot.box is not None:
            share[row, :, -1] = shot.box.covers(points).reshape(CELLS, 8, CELLS, 8).mean(axis=(1, 3)).reshape(-1)
    whole = (stream.clips, FRAMES_PER_CLIP)
    return Rendered(
        changed, *(torch.from_numpy(x).reshape(*whole, *x.shape[1:]) for x in (share, colour, shape, offset))
    )


def training_stream(seed: int, index: int) -> Stream:
    """The training stream `(seed, index)`; from `HIDING_FROM` on things hide whenever they can."""
    return sample_stream((seed, index), STREAM_CLIPS, hiding=index >= HIDING_FROM)


def render_streams(seed: int, indices: range) -> Rendered:
    """Training streams of `indices`, one after the other."""
    parts = []
    for index in indices:
        stream = training_stream(seed, index)
        parts.append(render_stream(stream, np.random.default_rng((seed, index, 3))))
    return Rendered(*(torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])))
