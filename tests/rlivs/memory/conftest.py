"""Captions and embeddings that tell which stream and clip they belong to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from rlivs.memory.store import Caption, CaptionStore

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

DIM = 8
SECONDS = 32.0


def caption_of(stream: str, index: int, end: float | None = None) -> Caption:
    return Caption(
        stream=stream,
        index=index,
        start=index * SECONDS,
        end=(index + 1) * SECONDS if end is None else end,
        text=f"clip {index} of {stream}, naïve 字幕",
        num_tokens=5 + index,
        selected=tuple(range(index, index + 4)),
    )


def vector_of(stream: str, index: int) -> np.ndarray:
    return np.random.default_rng([index, *stream.encode()]).normal(size=DIM).astype(np.float32)


def scores_of(index: int) -> np.ndarray:
    return np.random.default_rng(index).random(12, np.float32)


def visual_of(stream: str, index: int) -> bytes:
    return f"tokens of clip {index} of {stream}".encode() * 40


def add_captions(store: CaptionStore, stream: str, count: int, keep_visual: int = 4) -> None:
    first = store.last_index(stream) + 1
    for index in range(first, first + count):
        store.append(
            caption_of(stream, index),
            embedding=vector_of(stream, index),
            embedder_id="test",
            visual=visual_of(stream, index),
            keep_visual=keep_visual,
            scores=scores_of(index),
        )


@pytest.fixture
def add() -> Callable[..., None]:
    return add_captions


@pytest.fixture
def made() -> type:
    """What `add` puts into the store."""

    class Made:
        caption = staticmethod(caption_of)
        vector = staticmethod(vector_of)
        scores = staticmethod(scores_of)
        visual = staticmethod(visual_of)

    return Made


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    """A memory of two streams, closed."""
    path = tmp_path / "captions.db"
    with CaptionStore.open(path) as store:
        for stream, count in (("door", 6), ("yard", 3)):
            store.create_stream(stream, source=f"/videos/{stream}.mp4", settings={"fps": 0.5, "grid": [14, 14]})
            add_captions(store, stream, count)
    return path
