"""Feeding a finished caption once more, so that its rows are there whatever the decoding did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache, DynamicCache

from rlivs.errors import InputError
from rlivs.scoring.clip import Clip
from rlivs.scoring.recorder import LayerRecorder
from rlivs.versions import cache_argument

# Of cache layers that hold more than keys and values: linear attention, indexers.
_MORE_STATES = ("conv_states", "update_indexer", "update_index")


@torch.no_grad()
def feed_caption(
    decoder: Any, recorders: Sequence[LayerRecorder], clip: Clip, ids: torch.Tensor, prompt_length: int
) -> torch.Tensor | None:
    """Teacher-force the caption `ids` `[R, N]` on the prompt's part of the cache, recording its rows.

    The prompt itself is not run again, and the caller's cache is left as it is. Batch rows of beams are reduced to one
    a returned sequence. Returns the first key that each of the R rows sees, int64 `[R]`, None without left padding.
    Raises InputError for a cache that no longer holds the prompt's keys.
    """
    starts = clip.key_starts()
    if clip.cache is None:
        # Without a cache, every call feeds the prompt and all of the caption so far: the rows are there.
        if clip.batch != ids.shape[0]:
            raise InputError("beam search without a KV cache cannot be scored; pass use_cache=True")
        return starts

    per_input = 1 if clip.generation is None else clip.generation.num_return_sequences
    width = clip.batch * per_input // ids.shape[0]
    if width * ids.shape[0] != clip.batch * per_input:
        raise InputError(f"got {ids.shape[0]} captions but the model ran {clip.batch}; pass the ids of every batch row")
    batch_rows = torch.arange(ids.shape[0], device=ids.device) // per_input * width
    positions = _caption_positions(clip, batch_rows, prompt_length, ids.shape[1] - 1)
    if starts is not None:
        starts = starts[batch_rows.to(starts.device)]
    for recorder in recorders:
        recorder.select(batch_rows)
    if ids.shape[1] > 1:
        cache = clip.own_cache(_prompt_cache(clip.cache, recorders[0].index, batch_rows, prompt_length))
        device = decoder.get_input_embeddings().weight.device
        decoder(
            input_ids=ids[:, :-1].to(device),
            attention_mask=_attention_mask(starts, ids.shape[0], prompt_length + ids.shape[1] - 1, device),
            position_ids=positions,
            use_cache=True,
            **{cache_argument(decoder): cache},
        )
    return starts


def _caption_positions(
    clip: Clip, batch_rows: torch.Tensor, prompt_length: int, num_tokens: int
) -> torch.Tensor | None:
    """Rotary positions of the caption's tokens: they go on one by one, on every axis, from the last ones seen."""
    if clip.last_position is None:
        return None
    last = clip.last_position
    if last.shape[-2] > 1:
        last = last.index_select(-2, batch_rows.to(last.device))
    first = last + (prompt_length - (clip.end - 1))
    steps = torch.arange(num_tokens, device=last.device)
    return (first + steps).expand(*last.shape[:-2], len(batch_rows), -1)


def _attention_mask(starts: torch.Tensor | None, batch: int, length: int, device: torch.device) -> torch.Tensor | None:
    if starts is None:
        return None
    return (torch.arange(length, device=device) >= starts.to(device)[:, None]).long()


def _prompt_cache(cache: Cache, scored: int, batch_rows: torch.Tensor, prompt_length: int) -> DynamicCache:
    """A new cache with the first `prompt_length` keys and values of these batch rows.

    Every layer's must be of the positions that those of layer `scored` are of.
    """
    cropped = DynamicCache()
    length = int(cache.get_seq_length(scored))
    layers: Sequence[Any] = cache.layers
    for index, layer in enumerate(layers):
        states: list[Any] = [getattr(layer, "keys", None), getattr(layer, "values", None)]
        if (
            any(hasattr(layer, more) for more in _MORE_STATES)
            or any(state is None or state.dim() != 4 for state in states)
            or states[0].shape[2] < length
            or int(layer.get_seq_length()) != length
        ):
            raise InputError(
                f"layer {index}'s cache no longer holds the prompt (sliding window, quantised, linear or cross "
                "attention), so the caption cannot be fed again; use mode='deferred' with greedy decoding"
            )
        rows = batch_rows.to(states[0].device)
        cropped.update(*(state[:, :, :prompt_length].index_select(0, rows) for state in states), index)
    return cropped
