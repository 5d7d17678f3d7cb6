"""A pool of clips as visual tokens of the trained tower: rendered and encoded once, drawn from many times."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

from benchmarks.quality.world import grammar, render, scenes

from .augment import augment
from .model import FRAME_SIZE, FRAMES_PER_CLIP, KEPT_TOKENS, TOKENS_PER_FRAME, visual_tokens
from .precision import autocast
from .tower import cell_targets

CHUNK = 16


@dataclass
class Pool:
    """`tokens [clips, 16, 16, hidden]` bfloat16, `owner [clips, 16, 16]` (thing per cell, -1 none), the things."""

    tokens: Tensor
    owner: np.ndarray
    things: list[tuple[grammar.Thing, ...]]

    def __len__(self) -> int:
        return len(self.things)

    def __post_init__(self) -> None:
        counts = np.array([len(things) for things in self.things])
        self.by_count = {(1,): np.flatnonzero(counts == 1), (2,): np.flatnonzero(counts == 2)}
        self.by_count[(1, 2)] = np.arange(len(self.things))
        still = [all(t.motion == "stays still" for t in things) for things in self.things]
        self.still = np.flatnonzero(still)

    def captions(self) -> list[str]:
        return [grammar.caption(things) for things in self.things]


def sample_clip(seed: tuple[int, ...], count: int, still: bool = False) -> tuple[scenes.Scene, Tensor]:
    """One clip of `count` things: its scene and its 16 frames, uint8 `[16, 64, 64, 3]`."""
    rng = np.random.default_rng(seed)
    things = scenes.sample_things(rng, count)
    if still:
        things = tuple(grammar.Thing(t.colour, t.shape, "stays still") for t in things)
    scene = scenes.sample_scene(rng, things)
    return scene, augment(render.render(scene, FRAME_SIZE, PROGRESS), rng)


PROGRESS = np.linspace(0, 1, FRAMES_PER_CLIP)


def clip_kind(index: int) -> tuple[int, bool]:
    """Number of things of the pool's clip `index`, and whether all of them stay still."""
    return 1 if index % 5 < 2 else 2, index % 20 == 7


_model: nn.Module | None = None


def _start(config: LlavaOnevisionConfig, state: dict[str, Tensor]) -> None:
    """Each worker process builds the model anew: a pickled one has lost the hooks that capture hidden states."""
    global _model
    torch.set_num_threads(1)
    _model = LlavaOnevisionForConditionalGeneration(config).float()
    _model.load_state_dict(state)


def _encode_here(seed: int, indices: range) -> tuple[np.ndarray, np.ndarray, list]:
    assert _model is not None
    return _encode(_model, seed, indices)


@torch.no_grad()
def _encode(model: nn.Module, seed: int, indices: range) -> tuple[np.ndarray, np.ndarray, list]:
    scenes_, frames = zip(*(sample_clip((seed, 2, i), *clip_kind(i)) for i in indices), strict=True)
    with autocast():
        tokens = visual_tokens(model, torch.cat(frames))
    tokens = tokens.view(len(frames), FRAMES_PER_CLIP, TOKENS_PER_FRAME, -1).to(torch.bfloat16)
    owner = np.stack([cell_targets(scene, PROGRESS)[0] for scene in scenes_])
    return tokens.view(torch.int16).numpy(), owner, [scene.things for scene in scenes_]


def build(model: nn.Module, seed: int, clips: int, workers: int) -> Pool:
    """The pool's clips `0 .. clips-1`, by `workers` processes (0: here); a clip depends on seed and index only."""
    chunks = [range(start, min(start + CHUNK, clips)) for start in range(0, clips, CHUNK)]
    width = model.config.text_config.hidden_size
    tokens = torch.empty(clips, FRAMES_PER_CLIP, TOKENS_PER_FRAME, width, dtype=torch.bfloat16)
    owner = np.empty(tokens.shape[:3], np.int8)
    things: list[tuple[grammar.Thing, ...]] = []

    def fill(parts: Iterable[tuple[np.ndarray, np.ndarray, list]]) -> None:
        for chunk, part in zip(chunks, parts, strict=True):
            tokens[chunk.start : chunk.stop] = torch.from_numpy(part[0]).view(torch.bfloat16)
            owner[chunk.start : chunk.stop] = part[1]
            things.extend(part[2])

    if workers == 0:
        fill(_encode(model, seed, chunk) for chunk in chunks)
        return Pool(tokens, owner, things)
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start, initargs=(model.config, state)
    ) as executor:
        fill(executor.map(_encode_here, [seed] * len(chunks), chunks))
    return Pool(tokens, owner, things)


def save(pool: Pool, path: Path) -> None:
    torch.save({"tokens": pool.tokens, "owner": torch.from_numpy(pool.owner), "captions": pool.captions()}, path)


def load(path: Path) -> Pool:
    state = torch.load(path, mmap=True)
    return Pool(state["tokens"], state["owner"].numpy(), [grammar.parse(text) for text in state["captions"]])


def memory_slots(pool: Pool, rng: np.random.Generator, rows: int, slots: int) -> Tensor:
    """Foreign memory `[rows, slots * 16, hidden]`: tokens that other clips may have left, mostly of their things.

    Three quarters of the slots prefer cells with a thing in them, the way attention does; the others are drawn
    from all cells. Tokens of a slot stay in temporal order.
    """
    clips = rng.integers(len(pool), size=(rows, slots))
    owner = pool.owner[clips].reshape(rows, slots, -1)
    wanted = (owner >= 0) & (rng.random((rows, slots, 1)) < 0.75)
    late = rng.random((rows, slots, 1)) < 0.3  # attention often falls on the last frames
    weight = rng.random(owner.shape) + wanted + late * np.linspace(0, 0.5, owner.shape[-1])
    columns = np.sort(np.argpartition(-weight, KEPT_TOKENS, axis=-1)[..., :KEPT_TOKENS], axis=-1)
    flat = pool.tokens.view(-1, pool.tokens.shape[-1])
    rows_of = clips[..., None] * (FRAMES_PER_CLIP * TOKENS_PER_FRAME) + columns
    return flat[torch.from_numpy(rows_of.reshape(-1))].view(rows, slots * KEPT_TOKENS, -1)
