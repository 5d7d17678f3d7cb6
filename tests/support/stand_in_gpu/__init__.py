"""A GPU's stand-in, for tests on machines without one.

Tensors say that they are on `cuda:0` and hold their numbers in the host's memory; streams, events and CUDA graphs keep
the order that a GPU keeps. What a GPU refuses, or does in another order, is an error here too: operands on two devices,
a capture that reads back, work that does not wait for other streams' work, memory that is freed under it, graphs whose
tensors are gone. Kernels are none of its business: the operations run as on a CPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
from compiler import compiler

from stand_in_gpu.graphs import CUDAGraph
from stand_in_gpu.streams import Device, Event, Race, Stream
from stand_in_gpu.tensors import FlashAttention, GpuTensor, OnEveryThread, Runner

__all__ = ["Device", "GpuTensor", "Race", "stand_in_gpu"]

PROPERTIES = SimpleNamespace(
    name="stand-in GPU",
    major=9,
    minor=0,
    total_memory=80 * 2**30,
    multi_processor_count=132,
    shared_memory_per_block_optin=227 * 1024,
    warp_size=32,
)


class Generator(torch.Generator):
    """`torch.Generator`: random numbers are drawn on the CPU."""

    def __new__(cls, device=None):
        return super().__new__(cls, device="cpu")


@functools.cache
def _guard() -> ctypes.CDLL:
    torch_folder = Path(torch.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "guard.so"
        source = Path(__file__).with_name("guard.cpp")
        command = [compiler(), "-std=c++20", "-O0", "-shared", "-fPIC"]
        places = [f"-I{torch_folder / 'include'}", str(source), f"-L{torch_folder / 'lib'}", "-lc10"]
        subprocess.run([*command, *places, "-o", str(library)], check=True)
        return ctypes.CDLL(str(library))


@contextlib.contextmanager
def _taken_over() -> Iterator[None]:
    """For one thread."""
    before = torch._C._only_lift_cpu_tensors()
    # torch.tensor makes its tensor on the CPU, and then moves it.
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        with OnEveryThread():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


@functools.cache
def _device() -> Device:
    """One for all: streams that one test makes are kept for the next."""
    Stream.device = Event.device = CUDAGraph.device = device = Device()
    Runner.of_all = Runner(device)
    return device


@contextlib.contextmanager
def stand_in_gpu(count: int = 1, hollow: bool = False) -> Iterator[Device]:
    """Within it, PyTorch has a GPU, or two of common streams. AssertionError for memory freed under other work.

    hollow: tensors have sizes and no numbers, so any model fits; what reads a number raises RuntimeError.
    Attention is then that of flash kernels, which hold no map.
    """
    assert not torch.cuda.is_available(), "there is a GPU"
    _guard()
    device = _device()
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    run = threading.Thread.run

    def run_with_it(thread: threading.Thread) -> None:
        with _taken_over():
            run(thread)

    @contextlib.contextmanager
    def on(stream: Stream | None) -> Iterator[None]:
        before = device.current
        device.local.stream = stream or before
        try:
            yield
        finally:
            device.local.stream = before

    @contextlib.contextmanager
    def capturing(graph: CUDAGraph, pool=None, stream=None, capture_error_mode="global") -> Iterator[None]:
        side = stream or Stream()
        side.wait_stream(device.current)
        with on(side):
            graph.capture_begin(pool, capture_error_mode)
            try:
                yield
            finally:
                graph.capture_end()

    def synchronize(device_=None) -> None:
        with device.lock:
            for stream in device.streams:
                device.finish(stream.now())

    def forget_peak(device_=None) -> None:
        device.peak = device.allocated

    in_place_of = {
        "_lazy_init": lambda: None,
        "is_initialized": lambda: True,
        "is_available": lambda: True,
        "device_count": lambda: count,
        "current_device": lambda: 0,
        "get_device_name": lambda device=None: PROPERTIES.name,
        "get_device_capability": lambda device=None: (PROPERTIES.major, PROPERTIES.minor),
        "get_device_properties": lambda device=None: PROPERTIES,
        "device": lambda device: contextlib.nullcontext(),
        "set_device": lambda device: None,
        "Stream": Stream,
        "Event": Event,
        "CUDAGraph": CUDAGraph,
        "graph": capturing,
        "stream": on,
        "current_stream": lambda device_=None: device.current,
        "default_stream": lambda device_=None: device.default,
        "is_current_stream_capturing": lambda: device.current.capture is not None,
        "synchronize": synchronize,
        "empty_cache": lambda: None,
        "memory_reserved": lambda device_=None: device.allocated,
        "memory_allocated": lambda device_=None: device.allocated,
        "max_memory_allocated": lambda device_=None: device.peak,
        "reset_peak_memory_stats": forget_peak,
        "mem_get_info": lambda device_=None: (PROPERTIES.total_memory - device.allocated, PROPERTIES.total_memory),
    }
    with contextlib.ExitStack() as stack:
        for name, thing in in_place_of.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, thing))
        stack.enter_context(mock.patch.object(torch, "Generator", Generator))
        stack.enter_context(mock.patch.object(torch._C, "_cuda_getDriverVersion", lambda: 13000, create=True))
        stack.enter_context(mock.patch.object(threading.Thread, "run", run_with_it))
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwrite)
        stack.enter_context(_taken_over())
        stack.enter_context(mock.patch.object(Runner.of_all, "hollow", hollow))
        if hollow:
            stack.enter_context(FlashAttention())
        for left in (device.waits, device.faults, Runner.of_all.pinned):
            left.clear()
        yield device
        gc.collect()
        faults, device.faults = device.faults, []
        assert not faults, faults
