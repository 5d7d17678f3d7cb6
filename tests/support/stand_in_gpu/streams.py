"""Streams, events and allocations: who has written what, who has waited for whom, what the host may know."""

from __future__ import annotations

import itertools
import random
import threading
from collections import deque
from collections.abc import Callable

import torch


class Race(Exception):
    """Work that a GPU may run in another order, or on memory that is no longer there."""


class Device:
    """The device as the host sees it: streams, what is under way, and what went wrong where nothing can be raised."""

    def __init__(self) -> None:
        self.default = Stream.__new__(Stream)
        self.lock = threading.RLock()
        self.done: dict[int, int] = {}  # of each stream, the work that is known to be done
        self.streams: list[Stream] = []
        self.waits: list[str] = []
        self.faults: list[str] = []
        self.allocated = self.peak = 0
        self.chance = random.Random(0)
        self.local = threading.local()
        self._begin(self.default)

    def _begin(self, stream: Stream) -> None:
        stream.number, stream.tick, stream.seen, stream.under_way = len(self.streams), 0, {}, deque()
        stream.capture = None
        self.streams.append(stream)

    @property
    def current(self) -> Stream:
        return getattr(self.local, "stream", self.default)

    def finish(self, seen: dict[int, int]) -> None:
        """The host has waited for this much of each stream."""
        for number, tick in seen.items():
            under_way = self.streams[number].under_way
            while under_way and under_way[0][0] <= tick:
                under_way.popleft()[1]()
        merge(self.done, seen)

    def wait(self, why: str, stream: Stream | None = None) -> None:
        """The host waits for the stream, the current one if none is named."""
        stream = stream or self.current
        if stream.capture is not None:
            raise RuntimeError(f"operation not permitted when stream is capturing: {why}")
        self.waits.append(why)
        self.finish(stream.now())


def merge(into: dict[int, int], other: dict[int, int]) -> None:
    for number, tick in other.items():
        into[number] = max(into.get(number, 0), tick)


class Stream:
    """`torch.cuda.Stream`: `seen` is how much of every other stream comes before what is launched next."""

    device: Device  # of the class that is in use
    number: int
    tick: int
    seen: dict[int, int]
    under_way: deque[tuple[int, Callable[[], None]]]
    capture: object | None

    def __init__(self, device=None, **options) -> None:
        with self.device.lock:
            self.device._begin(self)

    @property
    def cuda_stream(self) -> int:
        return self.number

    def now(self) -> dict[int, int]:
        return {**self.seen, self.number: self.tick}

    def wait_stream(self, other: Stream) -> None:
        with self.device.lock:
            merge(self.seen, other.now())

    def record_event(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        with self.device.lock:
            merge(self.seen, event.seen)

    def synchronize(self) -> None:
        with self.device.lock:
            self.device.wait("stream", self)

    def query(self) -> bool:
        return self.record_event().query()


class Event:
    """`torch.cuda.Event`."""

    device: Device
    _times = itertools.count()

    def __init__(self, enable_timing: bool = False, **options) -> None:
        self.seen: dict[int, int] = {}
        self.time = 0.0

    def record(self, stream: Stream | None = None) -> None:
        stream = stream or self.device.current
        with self.device.lock:
            self.seen, self.time = stream.now(), float(next(self._times))

    def wait(self, stream: Stream | None = None) -> None:
        (stream or self.device.current).wait_event(self)

    def synchronize(self) -> None:
        with self.device.lock:
            self.device.finish(self.seen)

    def query(self) -> bool:
        """By chance: a GPU may be done early or late."""
        with self.device.lock:
            arrived = all(self.device.done.get(number, 0) >= tick for number, tick in self.seen.items())
            if not arrived and self.device.chance.random() < 0.5:
                self.device.finish(self.seen)
                arrived = True
            return arrived

    def elapsed_time(self, end: Event) -> float:
        return end.time - self.time


class Allocation:
    """A piece of device memory: tensors that are views of it share one."""

    def __init__(self, device: Device, size: int, stream: Stream, of_a_graph: bool) -> None:
        self._device, self._size, self._stream, self._of_a_graph = device, size, stream, of_a_graph
        self._written: tuple[int, int] = (stream.number, stream.tick)
        self._read: dict[int, int] = {}
        self._recorded: set[int] = set()
        device.allocated += size
        device.peak = max(device.peak, device.allocated)

    def use(self, stream: Stream, writes: bool, what: str) -> None:
        """Work on this stream, launched now, reads it or writes it."""
        before = {self._written[0]: self._written[1]}
        if writes:
            merge(before, self._read)
        for number, tick in before.items():
            if number != stream.number and self._known(stream, number) < tick:
                raise Race(f"{what} on stream {stream.number} does not wait for stream {number}")
        if writes:
            self._written, self._read = (stream.number, stream.tick), {}
        else:
            self._read[stream.number] = stream.tick

    def record_stream(self, stream: Stream) -> None:
        self._recorded.add(stream.number)

    def _known(self, stream: Stream, number: int) -> int:
        return max(stream.seen.get(number, 0), self._device.done.get(number, 0))

    def __del__(self) -> None:
        self._device.allocated -= self._size
        if self._of_a_graph:
            return
        # The allocator hands the memory on to work of its own stream.
        for number, tick in {**self._read, self._written[0]: self._written[1]}.items():
            apart = number != self._stream.number and number not in self._recorded
            if apart and self._known(self._stream, number) < tick:
                self._device.faults.append(f"memory of stream {self._stream.number} freed under stream {number}")


def size_of(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().nbytes()
