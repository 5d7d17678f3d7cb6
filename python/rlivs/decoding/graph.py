"""Decode steps of fixed addresses, captured once a text as a CUDA graph and replayed."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import masking_utils

from rlivs.backbones.protocol import Prompt
from rlivs.decoding.fixed import FULL, LINEAR, FixedSteps, layer_kinds

_log = logging.getLogger(__name__)
# The last graph of each language model: the next one shares its memory, which else would grow with every text.
_last_graphs: WeakKeyDictionary[nn.Module, torch.cuda.CUDAGraph] = WeakKeyDictionary()
# Models whose step could not be captured: it is not tried again.
_refused: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()


def can_capture(model: Any) -> bool:
    """Whether the model's decode step can run as a CUDA graph: all on one CUDA device, attention by sdpa."""
    device = only_device(model)
    return device is not None and device.type == "cuda" and has_plain_attention(model)


def refusal(model: Any) -> str | None:
    """Why the model's decode step was refused as a CUDA graph, None where it was not, or was never tried."""
    return _refused.get(model.get_decoder())


def only_device(model: Any) -> torch.device | None:
    """The device that all of the model lies on, None where there are several."""
    devices = {parameter.device for parameter in model.parameters()}
    return devices.pop() if len(devices) == 1 else None


def has_plain_attention(model: Any) -> bool:
    """Whether every layer of the language model attends to all positions, by sdpa, or keeps a state of one size."""
    config = model.get_decoder().config
    return config._attn_implementation == "sdpa" and set(layer_kinds(config)) <= {FULL, LINEAR}


class GraphedSteps(FixedSteps):
    """Steps of one text of up to `max_new_tokens` tokens.

    The first step runs as it is, on the stream of the capture, so that kernels are compiled and libraries have their
    workspace; the second is captured; from then on it is replayed. A new graph for every text costs about one more
    step, and nothing a graph points to (cache, scored rows) can have gone when it is replayed. Where the capture fails,
    steps go on as they are.
    """

    def __init__(self, model: Any, prompts: Prompt | Sequence[Prompt], max_new_tokens: int) -> None:
        super().__init__(model, prompts, max_new_tokens)
        self._stream = _side_stream(self.token.device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warm = self._no_room = False

    def step(self) -> None:
        if not self._warm:
            self._beside(super().step)
            self._warm = True
            return
        if self._graph is None and self.decoder not in _refused and not self._no_room:
            self._capture()
        if self._graph is None:
            super().step()
        else:
            self._graph.replay()

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        last = _last_graphs.get(self.decoder)
        start, stop = self.fed.start, self.fed.stop
        try:
            self._beside(lambda: self._record(graph, None if last is None else last.pool()))
        except (RuntimeError, ValueError) as error:
            # Nothing has run: the counts on the host are put back to those on the device.
            self.fed.start, self.fed.stop = start, stop
            if isinstance(error, torch.OutOfMemoryError):  # there may be room for the next text's
                self._no_room = True
                return
            _refused[self.decoder] = (str(error).splitlines() or [type(error).__name__])[0]
            _log.warning("decoding runs without a CUDA graph: %s", _refused[self.decoder])
            return
        self._graph = _last_graphs[self.decoder] = graph

    def _record(self, graph: torch.cuda.CUDAGraph, pool: Any) -> None:
        # Other threads (a decoder of frames, a server) may go on using the device meanwhile.
        # A collection during the capture could destroy another graph, which no capture survives.
        collects = gc.isenabled()
        gc.disable()
        try:
            graph.capture_begin(pool=pool, capture_error_mode="thread_local")
            try:
                with _without_masks():
                    super().step()
            finally:
                graph.capture_end()
        finally:
            if collects:
                gc.enable()

    def _beside(self, work: Callable[[], None]) -> None:
        """Run `work` on the side stream, in order with the current one."""
        current = torch.cuda.current_stream(self.token.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            work()
        current.wait_stream(self._stream)


@contextmanager
def _without_masks() -> Iterator[None]:
    """transformers 5.17 takes a capture for a model being traced, and builds the mask it leaves out of other steps: a
    mask of the cache's full size, for which keys and values are repeated for every head."""
    asked = getattr(masking_utils, "is_tracing", None)
    if asked is None:
        yield
        return
    masking_utils.is_tracing = lambda tensor=None: False
    try:
        yield
    finally:
        masking_utils.is_tracing = asked


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    # torch hands out 32 streams a priority, round after round: of the common ones, a stream that encodes clips could be
    # this very one one day, and what it does meanwhile would be captured. A graph's replay has the caller's priority.
    return torch.cuda.Stream(device, priority=-1)
