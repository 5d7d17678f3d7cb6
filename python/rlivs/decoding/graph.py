"""Decode steps over a static KV cache, captured once a text as a CUDA graph and replayed."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import StaticCache

from rlivs.backbones.protocol import Prompt
from rlivs.decoding.steps import Steps

# Attention that reads a static cache through a mask; others would attend to its empty end.
MASKED_ATTENTION = ("sdpa", "eager")
# Cache lengths are multiples of this, so that the next text's cache fits the memory of the last one's.
CACHE_BLOCK = 1024

_log = logging.getLogger(__name__)
# The last graph of each language model: the next one shares its memory, which else would grow with every text.
_last_graphs: WeakKeyDictionary[nn.Module, torch.cuda.CUDAGraph] = WeakKeyDictionary()


def can_capture(model: Any) -> bool:
    """Whether the model's decode step can run as a CUDA graph: all on one CUDA device, attention with a mask."""
    devices = {parameter.device for parameter in model.parameters()}
    attention = model.get_decoder().config._attn_implementation
    return len(devices) == 1 and devices.pop().type == "cuda" and attention in MASKED_ATTENTION


class GraphedSteps(Steps):
    """Steps of one text of up to `max_new_tokens` tokens.

    The first step runs as it is, on the stream of the capture, so that all libraries have their workspace; the second
    is captured; from then on it is replayed. A new graph for every text costs about one more step, and nothing a graph
    points to (cache, scored rows) can have gone when it is replayed. Where the capture fails, steps go on as they are.
    """

    def __init__(self, model: Any, prompt: Prompt, max_new_tokens: int) -> None:
        super().__init__(model, prompt, static_cache(model, prompt.length + max_new_tokens))
        self._stream = _side_stream(self.token.device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warm = False
        self._may_capture = True

    def step(self) -> None:
        if not self._warm:
            self._beside(super().step)
            self._warm = True
            return
        if self._graph is None and self._may_capture:
            self._capture()
        if self._graph is None:
            super().step()
        else:
            self._graph.replay()

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        last = _last_graphs.get(self.decoder)
        try:
            self._beside(lambda: self._record(graph, None if last is None else last.pool()))
        except RuntimeError as error:
            self._may_capture = False
            _log.warning("decoding runs without a CUDA graph: %s", str(error).splitlines()[0])
            return
        self._graph = _last_graphs[self.decoder] = graph

    def _record(self, graph: torch.cuda.CUDAGraph, pool: Any) -> None:
        # Other threads (a decoder of frames, a server) may go on using the device meanwhile.
        graph.capture_begin(pool=pool, capture_error_mode="thread_local")
        try:
            super().step()
        finally:
            graph.capture_end()

    def _beside(self, work: Any) -> None:
        """Run `work` on the side stream, in order with the current one."""
        current = torch.cuda.current_stream(self.token.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            work()
        current.wait_stream(self._stream)


def static_cache(model: Any, length: int) -> StaticCache:
    """An empty cache of fixed size for at least `length` positions."""
    return StaticCache(config=model.get_decoder().config, max_cache_len=-(-length // CACHE_BLOCK) * CACHE_BLOCK)


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
