"""Launches Triton kernels: the chip they run on, and a hook that lets a compile report see each launch.

Triton is imported by the kernels, not here.
"""

import functools
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LOG2E = math.log2(math.e)
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
MAX_HEAD_DIM = 256
# The kernels' tanh is off by up to 4e-7 (ex2.approx and div.full: 2 units in the last place each), times the cap. A
# series near 0 has no such limit, and takes registers that row_normalisers does not have.
MAX_SOFTCAP = 200.0
MAX_GRID = 65535  # of CUDA, along the second and third axis of a grid, where batch rows lie
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


@dataclass(frozen=True)
class Chip:
    """What block sizes and splits are chosen by. shared_bytes is the most that one program can have."""

    capability: tuple[int, int]
    multiprocessors: int
    shared_bytes: int

    @property
    def large(self) -> bool:
        """As Hopper, whose programs have 227 KB: A100 has 163 KB, and workstation GPUs of any year have 99 KB."""
        return self.shared_bytes >= 200 * 1024


# The interpreter knows no chip: one multiprocessor, so that a batch of two is not split, and one row is.
INTERPRETER = Chip((8, 0), 1, 99 * 1024)


@dataclass(frozen=True)
class Tiles:
    """Block sizes of a kernel; resident is how many of its programs a multiprocessor is expected to hold, registers a
    cap a thread that makes room for them."""

    rows: int
    keys: int
    warps: int
    stages: int
    resident: int
    registers: int | None = None


# For kernels that have no tiles of their own.
UNTILED = Tiles(rows=0, keys=0, warps=4, stages=1, resident=1)

_observer: Callable[..., None] | None = None
_assumed_chip: Chip | None = None


@contextmanager
def observed(chip: Chip, observer: Callable[..., None]) -> Iterator[None]:
    """Within, launches are handed to observer(kernel, arguments, constants, options, resident) in place of
    a GPU; resident is how many of the kernel's programs its caller expects a multiprocessor to hold."""
    global _observer, _assumed_chip
    before = _observer, _assumed_chip
    _observer, _assumed_chip = observer, chip
    try:
        yield
    finally:
        _observer, _assumed_chip = before


def chip_of(device: torch.device) -> Chip:
    if _assumed_chip is not None:
        return _assumed_chip
    if device.type != "cuda":
        return INTERPRETER
    return _properties(torch.cuda.current_device() if device.index is None else device.index)


@functools.cache
def _properties(index: int) -> Chip:
    properties = torch.cuda.get_device_properties(index)
    shared = getattr(properties, "shared_memory_per_block_optin")  # noqa: B009 - not in the stubs of a CPU build
    return Chip((properties.major, properties.minor), properties.multi_processor_count, shared)


def launch(
    kernel: Any,
    grid: tuple[int, ...],
    arguments: list,
    constants: dict,
    tiles: Tiles = UNTILED,
) -> None:
    """kernel[grid](*arguments, **constants) on the device and current stream of the first tensor, on as many warps,
    stages and registers as its tiles ask for."""
    # Said explicitly: the default of fp fusion is about to change, and exp2(logit * scale - lse) is one FMA with it.
    options = {"num_warps": tiles.warps, "num_stages": tiles.stages, "maxnreg": tiles.registers}
    options["enable_fp_fusion"] = True
    if _observer is not None:
        _observer(kernel, arguments, constants, options, tiles.resident)
        return
    device = next(a for a in arguments if isinstance(a, Tensor)).device
    if device.type == "cuda" and device.index != torch.cuda.current_device():
        with torch.cuda.device(device):
            kernel[grid](*arguments, **constants, **options)
    else:
        kernel[grid](*arguments, **constants, **options)


def query_limit(query: Tensor, softcap: object, most_rows: int = MAX_GRID) -> str | None:
    """Why Triton kernels cannot run on a query [B, Hq, T, D] of this device, dtype and layout; None when they can.
    most_rows: of the batch."""
    if query.dtype not in DTYPES:
        return f"it takes float16, bfloat16 and float32, not {str(query.dtype).removeprefix('torch.')}"
    if query.shape[3] > MAX_HEAD_DIM:
        return f"it takes head sizes up to {MAX_HEAD_DIM}, not {query.shape[3]}"
    if query.shape[0] > most_rows:
        return f"it takes batches up to {most_rows} here, not {query.shape[0]}"
    if isinstance(softcap, float | int) and softcap > MAX_SOFTCAP:
        return f"it takes softcaps up to {MAX_SOFTCAP:g}, not {softcap:g}"
    # Within a batch row the kernels count in 32 bits.
    if sum(stride * size for stride, size in zip(query.stride()[1:], query.shape[1:], strict=True)) >= 2**31:
        return "query spreads one batch row over 2^31 elements or more"
    if _observer is not None:
        return None
    if query.device.type != "cuda":
        if INTERPRETED and query.device.type == "cpu":
            return "Triton's interpreter cannot multiply bfloat16" if query.dtype == torch.bfloat16 else None
        return f"it needs CUDA tensors, not {query.device.type} (TRITON_INTERPRET=1 runs it slowly on a CPU)"
    capability = chip_of(query.device).capability
    if capability < (8, 0):
        return f"it needs compute capability 8.0, the GPU has {capability[0]}.{capability[1]}"
    return None


def logit_factors(scale: float, softcap: float | None) -> list[float]:
    """scale, cap_inner and cap_outer of the kernels: logits in units of log2. A softcap includes the scale:
    softcap * tanh(scale * product / softcap)."""
    if softcap is None:
        return [scale * LOG2E, 0.0, 0.0]
    return [1.0, 2 * LOG2E * scale / softcap, softcap * LOG2E]


def splits_for(programs: int, work: int, slots: int, most: int) -> int:
    """In how many parts to cut each of `programs` equal programs of `work` steps, so that waves of `slots` waste least.

    Cost of s parts: waves * (steps of a part + 3). To fetch the resident tile, fill the pipeline and write the result
    takes about three steps' time.
    """
    best, best_cost = 1, math.inf
    for splits in range(1, max(1, min(most, work)) + 1):
        cost = math.ceil(programs * splits / slots) * (math.ceil(work / splits) + 3)
        if cost < best_cost:
            best, best_cost = splits, cost
    return best
