"""Scenes to H.264 and back: what stands between the world and the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F

from .world import render, scenes

# libx264's functions for AVX-512 make other bytes now and then (its macroblock tree), those for AVX2 always the same.
SAME_BYTES = {"x264-params": "asm=avx2"} if torch.backends.cpu.get_cpu_capability() == "AVX512" else {}


@dataclass(frozen=True)
class Take:
    """A scene and how long it is shown."""

    scene: scenes.Scene
    seconds: float


def encode(pictures: Iterable[np.ndarray], path: Path, *, side: int, rate: int, quality: int = 23) -> None:
    """Encode pictures `[side, side, 3]` uint8 RGB with libx264, `rate` a second; the same bytes every time."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, rate)
        stream.codec_context.thread_count = 1
        stream.options = {"crf": str(quality), "preset": "medium", "g": str(8 * rate), **SAME_BYTES}
        for picture in pictures:
            # Converted here: what the encoder converts by itself has other bytes now and then.
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_video(path: Path, takes: Sequence[Take], *, side: int, rate: int, quality: int = 23) -> None:
    """Encode the takes one after the other, `rate` frames a second; the same bytes every time."""
    counts = [round(take.seconds * rate) for take in takes]
    rendered = (
        render.render(take.scene, side, np.arange(count) / count) for take, count in zip(takes, counts, strict=True)
    )
    encode(chain.from_iterable(rendered), path, side=side, rate=rate, quality=quality)


def read_frames(path: Path, *, every: int = 1) -> np.ndarray:
    """Every `every`-th frame of a video of constant rate, `[n, H, W, 3]` uint8 RGB."""
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        return np.stack([f.to_ndarray(format="rgb24") for i, f in enumerate(frames) if i % every == 0])


def shrink(frames: np.ndarray, size: int) -> torch.Tensor:
    """Frames as the preprocessing resizes them: bicubic, antialiased, in uint8; `[n, size, size, 3]`."""
    images = torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()
    resized = F.interpolate(images, size=(size, size), mode="bicubic", antialias=True)
    return resized.permute(0, 2, 3, 1).contiguous()
