"""Muon for the matrices inside the transformer layers, AdamW for the rest, one schedule for both."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from .muon import Muon


class Optimizers:
    """Two optimizers that step together; `rate` is AdamW's, Muon's is its multiple."""

    def __init__(
        self, named: Iterable[tuple[str, nn.Parameter]], *, muon_factor: float = 3.0, decay: float = 0.01
    ) -> None:
        named = [(name, parameter) for name, parameter in named if parameter.requires_grad]
        matrices = [p for name, p in named if p.ndim == 2 and ".layers." in name]
        chosen = {id(p) for p in matrices}
        others = [p for _, p in named if id(p) not in chosen]
        self.parameters = [p for _, p in named]
        self.muon_factor = muon_factor
        self.adamw = torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.98), weight_decay=decay)
        self.muon = Muon(matrices, lr=0.0, weight_decay=decay)

    def step(self, loss: torch.Tensor, rate: float, clip: float = 1.0) -> None:
        """One step of both on the gradient of `loss`."""
        for optimizer, factor in ((self.adamw, 1.0), (self.muon, self.muon_factor)):
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, clip)
        for parameter in self.parameters:  # a parameter outside this step's graph is left alone, not an error
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.adamw.step()
        self.muon.step()

    def state_dict(self) -> dict:
        return {"adamw": self.adamw.state_dict(), "muon": self.muon.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.adamw.load_state_dict(state["adamw"])
        self.muon.load_state_dict(state["muon"])


def schedule(step: int, steps: int, peak: float, warm: int = 40, floor: float = 0.02) -> float:
    """Learning rate at a step: linear warm-up, then a cosine down to `floor` of the peak."""
    rise = min(1.0, (step + 1) / warm)
    return peak * rise * max(floor, 0.5 * (1 + math.cos(math.pi * step / max(1, steps))))
