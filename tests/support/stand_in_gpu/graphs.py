"""CUDA graphs: a capture notes calls and leaves no trace, a replay makes them again, in the same memory."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from stand_in_gpu.streams import Allocation, Device, Race


@dataclass(frozen=True)
class Call:
    """One operation with what it was given, and the tensors that its results go to."""

    function: Any
    args: tuple
    kwargs: dict
    found: Any

    def again(self) -> None:
        for old, new in zip(
            tree_leaves(self.found), tree_leaves(self.function(*self.args, **self.kwargs)), strict=True
        ):
            if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                old.copy_(new)


class Capture:
    """What is launched between begin and end."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        # memory from before, and whether the graph writes it; memory of its own
        self.outer: dict[int, tuple[weakref.ref[Allocation], bool]] = {}
        self.own: weakref.WeakSet[Allocation] = weakref.WeakSet()
        self._before: dict[int, tuple[Tensor, Tensor]] = {}
        self._made: dict[int, Tensor] = {}

    def before(self, given: list[Tensor], written: list[Tensor]) -> None:
        for tensor in written:
            held = getattr(tensor, "held", tensor)
            place = held.untyped_storage().data_ptr()
            if place not in self._made and place not in self._before:
                whole = torch.empty(0, dtype=torch.uint8).set_(held.untyped_storage())
                self._before[place] = (whole, whole.clone())
        for tensor in given:
            allocation = getattr(tensor, "allocation", None)
            if allocation is not None and allocation not in self.own:
                writes = any(tensor is one for one in written)
                writes |= self.outer.get(id(allocation), (None, False))[1]
                self.outer[id(allocation)] = (weakref.ref(allocation), writes)

    def add(self, call: Call, given: list[Tensor], result: Any) -> None:
        self.calls.append(call)
        known = {id(tensor.allocation) for tensor in given if hasattr(tensor, "allocation")}
        for tensor in tree_leaves(result):
            allocation = getattr(tensor, "allocation", None)
            if allocation is not None and id(allocation) not in known and allocation not in self.own:
                self.own.add(allocation)
                self._made[tensor.held.untyped_storage().data_ptr()] = tensor.held

    def end(self) -> None:
        """Nothing has run: what was there is put back, what is new holds nothing of use."""
        for whole, value in self._before.values():
            whole.copy_(value)
        self._before.clear()
        self.spoil()

    def spoil(self) -> None:
        for tensor in self._made.values():
            torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage()).fill_(
                0xFE if not tensor.is_floating_point() else 0xFF
            )


class CUDAGraph:
    """`torch.cuda.CUDAGraph`."""

    device: Device

    def __init__(self, keep_graph: bool = False) -> None:
        self._capture: Capture | None = None
        self._pool: list[weakref.ref[CUDAGraph]] = []

    def capture_begin(self, pool: Any = None, capture_error_mode: str = "global") -> None:
        stream = self.device.current
        if stream is self.device.default:
            raise RuntimeError("CUDA graphs must be captured on a non-default stream")
        self._pool = [] if pool is None else pool
        self._pool.append(weakref.ref(self))
        self._stream, self._capture = stream, Capture()
        stream.capture = self._capture

    def capture_end(self) -> None:
        self._stream.capture = None
        assert self._capture is not None
        self._capture.end()

    def pool(self) -> Any:
        return self._pool

    def reset(self) -> None:
        self._capture = None

    def replay(self) -> None:
        assert self._capture is not None, "replayed before it was captured"
        device = self.device
        with device.lock, torch.utils._python_dispatch._disable_current_modes():
            stream = device.current
            stream.tick += 1
            for reference, writes in self._capture.outer.values():
                allocation = reference()
                if allocation is None:
                    raise Race("a graph is replayed that reads or writes memory which has gone")
                allocation.use(stream, writes, "a graph")
            for own in self._capture.own:
                own.use(stream, True, "a graph")
            for call in self._capture.calls:
                call.again()
            # They share their memory with this one.
            for other in self._pool:
                graph = other()
                if graph is not None and graph is not self and graph._capture is not None:
                    graph._capture.spoil()
