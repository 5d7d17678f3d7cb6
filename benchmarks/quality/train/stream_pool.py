"""The second world's clips as visual tokens, in the order of their streams, with what each clip should tell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.quality.world import grammar
from benchmarks.quality.world.script import Stream
from benchmarks.quality.world.truth import ClipTruth, stream_truths, told_frames

from .model import FRAMES_PER_CLIP, KEPT_TOKENS, TOKENS_PER_FRAME, visual_tokens
from .precision import autocast
from .stream_frames import STREAM_CLIPS, Rendered, training_stream

MEMORY_LENGTHS = (1, 1, 2, 3, 4, 4, 8, 12, 16, 16)  # to train with
MEMORY_SHARE = 0.55
UNKNOWN_FRAMES = 4  # of a told shot, in which a thing's motion cannot yet be known


@dataclass
class StreamPool:
    """`tokens` `[streams, 24, 16, 16, hidden]` bfloat16; `colour` `[streams, 24, 16, 16]` int8: of the thing in a cell.

    Where there is no thing in a cell its colour is -1.
    """

    tokens: Tensor
    colour: np.ndarray
    streams: list[Stream]
    truths: list[list[ClipTruth]]

    def __post_init__(self) -> None:
        self.thing = self.colour.reshape(*self.colour.shape[:2], -1) >= 0
        flat = [(s, c) for s, truths in enumerate(self.truths) for c in range(len(truths))]
        self.clips = np.array(flat)
        self.past = np.array([(s, c) for s, c in flat if self.truths[s][c].needs_past])

    def target(self, stream: int, clip: int, memory: int) -> str:
        """The caption that the clip and the `memory` clips before it can tell: hidden things only if seen in these."""
        truth = self.truths[stream][clip]
        earlier = self.truths[stream][max(0, clip - memory) : clip]
        known = {t.name for other in earlier if other.shot == truth.shot for t in other.seen_things}
        told = [t for t in truth.things if t.name not in truth.hidden or t.name in known]
        return grammar.caption(tuple(told))

    def motions(self, stream: int, clip: int) -> np.ndarray:
        """Number of the motion of the thing in each cell `[16, 16]`, -100 where there is none or it cannot be known."""
        truth = self.truths[stream][clip]
        found = np.full(self.colour.shape[2:], -100)
        colour = self.colour[stream, clip]
        for thing in truth.seen_things:
            where = colour == grammar.COLOURS.index(thing.colour)
            found[where] = grammar.MOTIONS.index(thing.motion)
        told = told_frames(self.streams[stream], truth, clip)
        found[~told] = -100
        found[np.flatnonzero(told)[:UNKNOWN_FRAMES]] = -100
        return found

    def memory(self, rng: np.random.Generator, stream: int, clip: int, slots: int) -> tuple[Tensor, np.ndarray]:
        """Tokens `[slots * 16, hidden]` that the clips before may have left: mostly those of things.

        With them `[slots * 16]`: the number of the colour of the thing in a token's cell if it belongs to the shot that
        `clip` tells of, else -1.
        """
        parts, colours = [], []
        for earlier in range(clip - slots, clip):
            weight = rng.random(self.thing.shape[-1])
            if rng.random() < 0.8:
                weight += self.thing[stream, earlier]
            if rng.random() < 0.3:
                weight += np.linspace(0, 0.5, len(weight))
            kept = np.sort(np.argpartition(-weight, KEPT_TOKENS)[:KEPT_TOKENS])
            parts.append(self.tokens[stream, earlier].flatten(0, 1)[torch.from_numpy(kept)])
            same = self.truths[stream][earlier].shot == self.truths[stream][clip].shot
            colours.append(self.colour[stream, earlier].reshape(-1)[kept] if same else np.full(KEPT_TOKENS, -1))
        return torch.cat(parts), np.concatenate(colours)


@torch.no_grad()
def encode(model: nn.Module, rendered: Rendered) -> Tensor:
    """Visual tokens `[n, 16, 16, hidden]` bfloat16 of rendered clips."""
    parts = []
    for clip in rendered.frames:
        with autocast():
            parts.append(visual_tokens(model, clip).to(torch.bfloat16))
    return torch.stack(parts)


def load(frames: list[Path], tokens: list[Path], seed: int, indices: list[int]) -> StreamPool:
    """The training streams of `indices`, in this order, rendered in `frames` and encoded in `tokens`."""
    encoded = torch.cat([torch.load(path)["tokens"] for path in tokens])
    colour = torch.cat([torch.load(path, mmap=True)["colour"] for path in frames])
    streams = [training_stream(seed, index) for index in indices]
    shape = (len(streams), STREAM_CLIPS)
    return StreamPool(
        encoded.view(*shape, FRAMES_PER_CLIP, TOKENS_PER_FRAME, -1),
        colour.view(*shape, FRAMES_PER_CLIP, TOKENS_PER_FRAME).numpy(),
        streams,
        [stream_truths(stream) for stream in streams],
    )


def draw_memory_length(rng: np.random.Generator) -> int:
    return int(rng.choice(MEMORY_LENGTHS)) if rng.random() < MEMORY_SHARE else 0
