"""Decode steps whose tensors all stay where they are: a cache of fixed size, its length on the device, no mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from transformers import Cache
from transformers.cache_utils import LinearAttentionLayer, StaticLayer

import rlivs_kernels
from rlivs.backbones.protocol import Prompt
from rlivs.decoding.fewer import FewerOperations
from rlivs.decoding.steps import Steps

# Cache lengths are multiples of this, so that the next text's cache fits the memory of the last one's.
CACHE_BLOCK = 1024
FULL, LINEAR = "full_attention", "linear_attention"


def layer_kinds(config: Any) -> list[str]:
    """What transformers calls each layer of a language model, by its attention."""
    return list(getattr(config, "layer_types", None) or [FULL] * config.num_hidden_layers)


class FixedSteps(Steps):
    """Steps of one text of up to `max_new_tokens` tokens, each the same operations on the same addresses.

    Layers of full attention attend by `rlivs_kernels.decode_attention`, which reads the cache's length from the device
    and no key beyond it: transformers would build a mask of the cache's full size, and read all of it, repeated for
    every head. Layers of linear attention run as they are.
    """

    # Of several texts, the key at which each one's prompt begins, int32 `[B]`.
    _key_starts: torch.Tensor | None = None

    def __init__(self, model: Any, prompts: Prompt | Sequence[Prompt], max_new_tokens: int) -> None:
        each = [prompts] if isinstance(prompts, Prompt) else prompts
        length = -(-(max(prompt.length for prompt in each) + max_new_tokens) // CACHE_BLOCK) * CACHE_BLOCK
        self.fed = Fed(len(each), each[0].inputs_embeds.device)
        # The states of linear attention are of one size, and transformers overwrites them where they are.
        layers: list[Any] = [
            LinearAttentionLayer() if kind == LINEAR else FixedLayer(length, self.fed)
            for kind in layer_kinds(model.get_decoder().config)
        ]
        super().__init__(model, prompts, Cache(layers=layers))
        self._fewer = FewerOperations(self.decoder)

    def prefill(self) -> None:
        super().prefill()
        self.fed.count_on_device()

    def step(self) -> None:
        with self._fewer:
            super().step()

    def _run(self, **inputs: Any) -> torch.Tensor:
        count = inputs["position_ids"].shape[-1]
        self.fed.begin(count)
        # A prompt, or the last piece of one, may be a single position, too.
        with StepAttention(self.fed.lengths, self._key_starts) if count == 1 else nullcontext():
            return super()._run(**inputs)


class Fed:
    """How many positions the layers of a cache hold: on the host while the prompt is run, on the device after it."""

    def __init__(self, batch: int, device: torch.device) -> None:
        self.calls = 0
        self.start = self.stop = 0
        self.on_device = False
        # The number of positions, twice, as whoever asks wants it; and the place of the newest.
        self.length = torch.zeros((), dtype=torch.int64, device=device)
        self.lengths = torch.zeros(batch, dtype=torch.int32, device=device)
        self.place = torch.zeros(1, dtype=torch.int64, device=device)

    def begin(self, count: int) -> None:
        """The model is about to be fed `count` more positions."""
        self.calls += 1
        self.start, self.stop = self.stop, self.stop + count
        if self.on_device:
            for counter in (self.length, self.lengths, self.place):
                counter.add_(1)
        else:
            self._fill()

    def hold(self, count: int) -> None:
        """The layers have come to hold `count` positions by another way than `begin`."""
        self.start = self.stop = count
        self._fill()

    def _fill(self) -> None:
        self.length.fill_(self.stop)
        self.lengths.fill_(self.stop)
        self.place.fill_(self.stop - 1)

    def count_on_device(self) -> None:
        """From now on one position at a time, by operations that can be replayed."""
        self.on_device = True


class FixedLayer(StaticLayer):
    """Keys and values `[B, Hkv, max_cache_len, D]` of one layer; all layers share one count of positions."""

    is_compileable = False  # else transformers builds a mask for every step

    def __init__(self, max_cache_len: int, fed: Fed) -> None:
        super().__init__(max_cache_len=max_cache_len)
        self.cumulative_length = fed.length  # not used, but where there is none on the device, one is copied there
        self._fed = fed
        self._calls = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        self._calls = self._fed.calls
        for states, new in ((self.keys, key_states), (self.values, value_states)):
            if self._fed.on_device:
                states.index_copy_(2, self._fed.place, new)
            else:
                states[:, :, self._fed.start : self._fed.stop].copy_(new)
        return self.keys, self.values

    def fill(self, row: int, start: int, batch: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Hold keys and values `[1, Hkv, n, D]` as those of a batch row from position `start` on, of `batch` rows."""
        if not self.is_initialized:
            self.lazy_initialization(keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1))
        assert self.keys is not None and self.values is not None
        for states, new in ((self.keys, keys), (self.values, values)):
            states[row, :, start : start + new.shape[2]].copy_(new[0])

    def get_seq_length(self) -> Any:
        """Before the layer's update in a call an int, after it a tensor on the device."""
        return self._fed.length if self._calls == self._fed.calls else self._fed.start


class StepAttention(TorchFunctionMode):
    """While open, attention of one row a head is `decode_attention` over each text's keys from `starts` (None: 0) up to
    `lengths`, int32 `[B]` both."""

    def __init__(self, lengths: torch.Tensor, starts: torch.Tensor | None) -> None:
        super().__init__()
        self._lengths, self._starts = lengths, starts

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not nn.functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        query, key, value = args
        out, _ = rlivs_kernels.decode_attention(
            query, key, value, key_lengths=self._lengths, key_start=self._starts, scale=kwargs.get("scale")
        )
        return out
