"""Aids to reading a list of captions: probes and pointers that show each layer what to gather.

Left alone, the language model takes thousands of steps before it finds that a question's words can be looked up
in the list. Four layers are just enough for it, so each is told its part:

1. every token of the list knows the token before it;
2. the words of a caption know their line's start and end time, and the answer's rows know what is asked;
3. the answer's rows look at the thing that is asked about, and know the start time of the line to read;
4. the answer's rows look at the very word to say next.

The probes are thrown away after training; the pointers are attention weights of one head of layers 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.quality.world.grammar import COLOURS, SHAPES

DIGITS = 4  # of m:ss and mm:ss: minutes' tens and ones, seconds' tens and ones
TIME = 10 * DIGITS
IGNORED = -100


def digits_of(seconds: float) -> list[int]:
    """12:34 as [1, 2, 3, 4]."""
    minutes, rest = divmod(int(seconds), 60)
    return [minutes // 10 % 10, minutes % 10, rest // 10, rest % 10]


@dataclass
class Aids:
    """Targets for the tokens of a batch `[B, length, ...]`; -100 (columns: -1) where there is none."""

    before: Tensor  # [B, length] id of the token before, inside the list
    span: Tensor  # [B, length, 8] digits of a caption word's start and end time
    asked_time: Tensor  # [B, length, 4] digits asked for, in an answer's rows
    asked_thing: Tensor  # [B, length, 2] colour and shape asked for
    line_time: Tensor  # [B, length, 4] digits of the start time of the line to read
    match: Tensor  # [B, length] column of the thing asked about
    source: Tensor  # [B, length] column of the word to say


def empty(rows: int, length: int) -> Aids:
    sizes = ((), (2 * DIGITS,), (DIGITS,), (2,), (DIGITS,))
    targets = [torch.full((rows, length, *size), IGNORED) for size in sizes]
    return Aids(*targets, *(torch.full((rows, length), -1) for _ in range(2)))


class Probes(nn.Module):
    """Linear readings of the hidden states after layers 1, 2 and 3."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, vocabulary)
        self.second = nn.Linear(width, 2 * TIME + TIME + len(COLOURS) + len(SHAPES))
        self.third = nn.Linear(width, TIME)


def _digits(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits.reshape(-1, 10), target.reshape(-1), ignore_index=IGNORED)


def _pointer(weights: Tensor, column: Tensor) -> Tensor:
    rows, at = torch.nonzero(column >= 0, as_tuple=True)
    return -weights[rows, 0, at, column[rows, at]].float().clamp(min=1e-4).log().mean()


def loss(probes: Probes, hidden: tuple[Tensor, ...], layers: nn.ModuleList, aids: Aids) -> dict[str, Tensor]:
    """Every aid's loss by name; aids without a target in the batch are left out."""
    after = [F.layer_norm(h.float(), h.shape[-1:]) for h in hidden[1:4]]
    found: dict[str, Tensor] = {}

    def rows(target: Tensor) -> Tensor:
        return (target >= 0).flatten(2).any(-1) if target.ndim == 3 else target >= 0

    where = rows(aids.before)
    if where.any():
        found["before"] = F.cross_entropy(probes.first(after[0][where]), aids.before[where])
    where = rows(aids.span)
    if where.any():
        found["span"] = _digits(probes.second(after[1][where])[:, : 2 * TIME], aids.span[where])
    where = rows(aids.asked_time)
    if where.any():
        seen = probes.second(after[1][where])[:, 2 * TIME : 3 * TIME]
        found["asked_time"] = _digits(seen, aids.asked_time[where])
    where = rows(aids.asked_thing)
    if where.any():
        seen = probes.second(after[1][where])[:, 3 * TIME :].split([len(COLOURS), len(SHAPES)], dim=-1)
        kinds = aids.asked_thing[where]
        found["asked_thing"] = F.cross_entropy(seen[1], kinds[:, 1])
        if (kinds[:, 0] >= 0).any():
            found["asked_thing"] = found["asked_thing"] + F.cross_entropy(seen[0], kinds[:, 0])
    where = rows(aids.line_time)
    if where.any():
        found["line_time"] = _digits(probes.third(after[2][where]), aids.line_time[where])
    for name, layer, column in (("match", layers[-2], aids.match), ("source", layers[-1], aids.source)):
        if (column >= 0).any():
            found[name] = _pointer(layer.self_attn.kept_weights, column)
    return found
