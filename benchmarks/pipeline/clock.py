"""Times and peak memory, on a GPU by its own clock, on a CPU by the wall's."""

from __future__ import annotations

import itertools
import resource
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import LogitsProcessor

from benchmarks.kernels import timing

GIB = 2**30


class Marks:
    """Moments in a run of work, and the milliseconds between them; marking does not wait for the GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._moments: list[Any] = []

    def mark(self) -> None:
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._moments.append(event)
        else:
            self._moments.append(time.perf_counter())

    def milliseconds(self) -> list[float]:
        """From each moment to the next."""
        pairs = list(itertools.pairwise(self._moments))
        if self._device.type == "cuda":
            torch.cuda.synchronize()
            return [begin.elapsed_time(end) for begin, end in pairs]
        return [1e3 * (end - begin) for begin, end in pairs]


class StepClock(LogitsProcessor):
    """Marks the moment at which `generate` has the logits of each new token."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self._marks.mark()
        return scores


def wall(call: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Milliseconds of a call from start to end, the GPU's work included, and its result."""
    synchronize(device)
    begin = time.perf_counter()
    result = call()
    synchronize(device)
    return 1e3 * (time.perf_counter() - begin), result


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def forget_peak(device: torch.device) -> None:
    """Begin a new peak from what is held now."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gib(device: torch.device) -> float:
    """The most memory held since `forget_peak` (on a CPU: since the process began), in GiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def copy_rate(device: torch.device) -> float:
    """Bytes a second of a copy, reads and writes counted."""
    if device.type == "cuda":
        return timing.copy_bandwidth()
    source = torch.zeros(64 * 2**20, dtype=torch.int8)
    target = torch.empty_like(source)
    return 2 * source.nbytes / (timing.time_on_cpu(lambda: target.copy_(source), 0.05).p50 * 1e-6)


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large square product of random numbers."""
    side = 8192 if device.type == "cuda" else 512
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    time_it = timing.time_on_gpu if device.type == "cuda" else timing.time_on_cpu
    return 2 * side**3 / (time_it(lambda: left @ right, 0.1).p50 * 1e-6)
