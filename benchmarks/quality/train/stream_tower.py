"""The tower goes on to the second world: textures, noise, clutter, boxes; the first world's frames stay in the mix.

The probe also asks each token where in the picture its cell is. Without that the tower forgets it for cells that show
a thing, as nothing else here needs it: in a whole clip a token's place follows from its position in the prompt. In a
few kept tokens it does not, and then nothing tells how a thing moves.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .model import CELLS, FRAME_SIZE, FRAMES_PER_CLIP, visual_tokens
from .optim import Optimizers, schedule
from .precision import autocast
from .stream_frames import Rendered
from .tower import COLOURS, SHAPES, cell_loss, frame_batch

PROBE_SIZE = (COLOURS + 1) + COLOURS + SHAPES + 2 + 2
PLACES = torch.stack([torch.arange(CELLS * CELLS) % CELLS, torch.arange(CELLS * CELLS) // CELLS], -1).float()
OLD_SHARE = 0.3


def draw(rendered: Rendered, seed: tuple[int, ...], count: int) -> dict[str, Tensor]:
    """`count` frames of both worlds with their targets per cell."""
    rng = np.random.default_rng(seed)
    old = 2 * round(OLD_SHARE * count / 2)
    first = frame_batch((*seed, 1), old, (0.115, 0.205))
    clip = torch.from_numpy(rng.integers(0, len(rendered.frames), count - old))
    frame = torch.from_numpy(rng.integers(0, FRAMES_PER_CLIP, count - old))
    colour, shape = (x[clip, frame].long() for x in (rendered.colour, rendered.shape))
    seen = colour >= 0
    box = F.pad(first["share"], (0, 1))
    return {
        "frames": torch.cat([first["frames"], rendered.frames[clip, frame]]),
        "share": torch.cat([box, rendered.share[clip, frame].float()]),
        "colour": torch.cat([first["colour"], colour.masked_fill(~seen, -100)]),
        "shape": torch.cat([first["shape"], shape.masked_fill(~seen, -100)]),
        "offset": torch.cat([first["offset"], rendered.offset[clip, frame].float()]),
        "seen": torch.cat([first["seen"], seen]),
    }


def probe_loss(probe: nn.Linear, tokens: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    """As the first tower's, with the box's share beside the colours', and the cell's column and row."""
    share, colour, shape, offset, place = probe(tokens.float()).split([COLOURS + 1, COLOURS, SHAPES, 2, 2], dim=-1)
    seen = batch["seen"]
    loss, away = cell_loss(share, colour, shape, offset, batch)
    astray = (place - PLACES).abs().sum(-1).mean()
    loss = loss + astray
    cut = 2 * round(OLD_SHARE * len(seen) / 2)
    figures = {
        "loss": loss.item(),
        "centre_px": away.item() / 2 * FRAME_SIZE / CELLS,
        "place_px": astray.item() / 2 * FRAME_SIZE / CELLS,
    }
    for name, part in (("old", slice(0, cut)), ("new", slice(cut, None))):
        where = seen[part]
        figures[f"{name}_colour"] = (colour.argmax(-1) == batch["colour"])[part][where].float().mean().item()
        figures[f"{name}_shape"] = (shape.argmax(-1) == batch["shape"])[part][where].float().mean().item()
    return loss, figures


def train(model: nn.Module, rendered: Rendered, log, *, seed: int, steps: int, frames: int, rate: float) -> None:
    """Fit a fresh probe to the tower as it is, then both together."""
    torch.manual_seed(seed)
    probe = nn.Linear(model.config.text_config.hidden_size, PROBE_SIZE)
    fitting = torch.optim.AdamW(probe.parameters(), lr=5e-3)
    named = [(n, p) for n, p in model.named_parameters() if "vision_tower" in n or "projector" in n]
    optimizers = Optimizers([*named, *(("probe." + n, p) for n, p in probe.named_parameters())])
    alone = steps // 10
    for step in range(steps):
        batch = draw(rendered, (seed, 11, step), frames)
        with autocast(), torch.set_grad_enabled(step >= alone):
            seen = visual_tokens(model, batch["frames"])
        loss, figures = probe_loss(probe, seen, batch)
        if step < alone:
            fitting.zero_grad()
            loss.backward()
            fitting.step()
        else:
            optimizers.step(loss, schedule(step - alone, steps - alone, rate))
        log.add("tower", step, figures)
