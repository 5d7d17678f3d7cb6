"""Times of a call: quantiles over repeats with a cold L2, on the GPU's own clock."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

FLUSH_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Times:
    """Microseconds."""

    p20: float
    p50: float
    p80: float


def quantiles(samples: list[float]) -> Times:
    if len(samples) == 1:
        return Times(*samples * 3)
    cuts = statistics.quantiles(samples, n=10, method="inclusive")
    return Times(cuts[1], cuts[4], cuts[7])


def time_on_gpu(call: Callable[[], object], seconds: float = 0.3, host: bool = False) -> Times:
    """CUDA events around each call; before it the L2 is filled with lines that need no writing back.

    With `host` the device is idle when the call begins, so that what the host takes to launch it is counted.
    """
    dirty = torch.empty(FLUSH_BYTES, dtype=torch.int8, device="cuda")
    clean = torch.zeros(FLUSH_BYTES // 4, dtype=torch.float32, device="cuda")

    def flush() -> None:
        dirty.zero_()
        clean.amax()

    for _ in range(3):
        call()
    torch.cuda.synchronize()
    before = time.perf_counter()
    for _ in range(5):
        flush()
        call()
    torch.cuda.synchronize()
    repeats = max(10, min(500, int(seconds / ((time.perf_counter() - before) / 5))))
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats)]
    for start, stop in events:
        flush()
        if host:
            torch.cuda.synchronize()
        start.record()
        call()
        stop.record()
    torch.cuda.synchronize()
    return quantiles([1e3 * start.elapsed_time(stop) for start, stop in events])


def captured(call: Callable[[], object]) -> Callable[[], object] | None:
    """The call as a CUDA graph's replay, without the host's time; None where it cannot be captured."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    try:
        with torch.cuda.stream(stream):
            call()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            call()
    except Exception:  # Triton's errors have no common base but this
        torch.cuda.synchronize()
        return None
    return graph.replay


def time_on_cpu(call: Callable[[], object], seconds: float = 0.3) -> Times:
    call()
    samples: list[float] = []
    while len(samples) < 3 or (sum(samples) < seconds * 1e6 and len(samples) < 200):
        before = time.perf_counter()
        call()
        samples.append(1e6 * (time.perf_counter() - before))
    return quantiles(samples)


def copy_bandwidth() -> float:
    """Bytes a second of a device copy of 1 GiB, reads and writes counted: what memory-bound kernels are held to."""
    source = torch.empty(2**30, dtype=torch.int8, device="cuda")
    target = torch.empty_like(source)
    return 2 * 2**30 / (time_on_gpu(lambda: target.copy_(source)).p50 * 1e-6)
