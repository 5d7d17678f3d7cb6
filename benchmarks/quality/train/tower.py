"""First phase: the vision tower learns what is in each of a frame's 16 cells, from single frames.

A linear probe on the pooled visual tokens names colour and shape of the thing in a cell, how much of the cell
each colour covers, and where the thing's centre is. It takes two minutes and spares the language model the
long plateau in which it can only tell colours. The probe is thrown away afterwards.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.quality.world import grammar, render, scenes

from .augment import augment
from .model import CELLS, FRAME_SIZE

COLOURS, SHAPES = len(grammar.COLOURS), len(grammar.SHAPES)
PROBE_SIZE = COLOURS + COLOURS + SHAPES + 2
FRAMES_PER_SCENE = 2
SEEN = 0.12  # a thing is in a cell that it covers at least this much


def cell_targets(scene: scenes.Scene, progress: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per cell the index of the thing that covers it most (-1: none), and the share each thing covers.

    Shapes `[frames, 16]` int8 and `[frames, things, 16]` float32.
    """
    share = render.covered_cells(scene, progress, CELLS)
    share = share.reshape(*share.shape[:2], CELLS * CELLS)
    owner = np.where(share.max(axis=1) >= SEEN, share.argmax(axis=1), -1).astype(np.int8)
    return owner, share


def frame_batch(seed: tuple[int, ...], count: int, radius: tuple[float, float]) -> dict[str, Tensor]:
    """`count` frames, two of a scene, with their targets per cell."""
    rng = np.random.default_rng(seed)
    frames, shares, owners, colours, shapes, offsets = [], [], [], [], [], []
    axis = (np.arange(CELLS) + 0.5) / CELLS
    cell = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)  # x, y of the cells' centres, row by row
    for _ in range(count // FRAMES_PER_SCENE):
        things = scenes.sample_things(rng, 1 if rng.random() < 0.35 else 2)
        scene = scenes.sample_scene(rng, things, radius=radius)
        progress = rng.random(FRAMES_PER_SCENE)
        frames.append(augment(render.render(scene, FRAME_SIZE, progress), rng))
        owner, share = cell_targets(scene, progress)
        colour = np.array([grammar.COLOURS.index(t.colour) for t in things])
        shape = np.array([grammar.SHAPES.index(t.shape) for t in things])
        spread = np.zeros((FRAMES_PER_SCENE, CELLS * CELLS, COLOURS), np.float32)
        spread[:, :, colour] = share.transpose(0, 2, 1)
        shares.append(spread)
        owners.append(owner)
        colours.append(np.where(owner < 0, -100, colour[owner]))
        shapes.append(np.where(owner < 0, -100, shape[owner]))
        centres = np.take_along_axis(scene.centres(progress), np.maximum(owner, 0)[..., None].astype(int), 1)
        offsets.append((centres - cell) * CELLS)
    return {
        "frames": torch.cat(frames),
        "share": torch.from_numpy(np.concatenate(shares)),
        "colour": torch.from_numpy(np.concatenate(colours)),
        "shape": torch.from_numpy(np.concatenate(shapes)),
        "offset": torch.from_numpy(np.concatenate(offsets)).float(),
        "seen": torch.from_numpy(np.concatenate(owners) >= 0),
    }


def cell_loss(
    share: Tensor, colour: Tensor, shape: Tensor, offset: Tensor, batch: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Loss of what is told of each cell, and how far the told centres of the things seen are away."""
    away = (offset - batch["offset"]).abs().sum(-1)[batch["seen"]].mean()
    loss = (
        4 * F.smooth_l1_loss(share, batch["share"], beta=0.1)
        + F.cross_entropy(colour.flatten(0, 1), batch["colour"].flatten())
        + F.cross_entropy(shape.flatten(0, 1), batch["shape"].flatten())
        + 2 * away
    )
    return loss, away


def probe_loss(probe: nn.Linear, tokens: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    """Loss of the probe on visual tokens `[n, 16, hidden]`, and what it gets right."""
    out = probe(tokens.float())
    share, colour, shape, offset = out.split([COLOURS, COLOURS, SHAPES, 2], dim=-1)
    seen = batch["seen"]
    loss, away = cell_loss(share, colour, shape, offset, batch)
    figures = {
        "colour": (colour.argmax(-1) == batch["colour"])[seen].float().mean().item(),
        "shape": (shape.argmax(-1) == batch["shape"])[seen].float().mean().item(),
        "centre_px": away.item() / 2 * FRAME_SIZE / CELLS,
    }
    return loss, figures
