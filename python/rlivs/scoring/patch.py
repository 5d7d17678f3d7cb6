"""Patching a model so that the attention of its captions can be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from types import TracebackType
from typing import Any

import torch
from packaging.version import Version
from torch import nn
from transformers import __version__ as TRANSFORMERS

from rlivs.errors import InputError
from rlivs.scoring.attention import Tap, is_tapped
from rlivs.scoring.captions import counted_rows, new_ids
from rlivs.scoring.clip import Clip
from rlivs.scoring.generation import Generation, as_ids, watched_generate
from rlivs.scoring.layers import choose_layers, decoder_attentions, text_decoder
from rlivs.scoring.recorder import LayerRecorder
from rlivs.scoring.rescore import feed_caption
from rlivs.scoring.sums import Columns, mean_attention

MODES = ("deferred", "fused", "rescore")
OLDEST_TRANSFORMERS = "5.17.0"
_ONE_AT_A_TIME = Lock()  # not the handle's own: what a patched model holds must be copyable


def patch(model: nn.Module, layers: str | int | Sequence[int] = "auto", mode: str = "deferred") -> Handle:
    """Tap `model` so that a clip's caption can be scored: `a_j = 1/L sum_l 1/H sum_h 1/N sum_i A[l,h,i,j]`.

    Any transformers model with a text decoder will do, text-only ones too, over whatever attention it uses (sdpa,
    eager, flex, flash). Only the attention of the chosen layers is touched; its outputs stay the same (in "fused",
    within rounding), and `remove()` takes everything back. Returns a Handle: `clip(...)` watches, `scores(...)` gives
    fp32 [B, N].

    layers: "auto" (the paper's relative depths: 0-based [4, 8, 13, 19] of 28), "all", an index or several, negative
    ones from the end. mode: "deferred" keeps the caption's query rows and makes one pass over the KV cache at the
    end; "fused" lets one kernel attend and score in each decoding step, for engines that replay steps; "rescore" feeds
    the finished caption once more, exact for beam search and any other way of decoding.
    Source: arXiv 2510.17364, section 3. Raises InputError for a model, layer or mode that cannot be served.
    """
    if Version(TRANSFORMERS).release < Version(OLDEST_TRANSFORMERS).release:
        raise InputError(f"transformers {TRANSFORMERS} is too old; install transformers>={OLDEST_TRANSFORMERS}")
    if mode not in MODES:
        raise InputError(f"mode '{mode}' is not available; choose one of {', '.join(MODES)}")
    return Handle(model, layers, mode)


class Handle:
    """A patched model: `layers` are the 0-based indices that are scored. A context manager, or call `remove()`."""

    def __init__(self, model: nn.Module, layers: str | int | Sequence[int], mode: str) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(f"{model!r} is no model; load it first: AutoModelForCausalLM.from_pretrained(...)")
        if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
            raise InputError(
                f"{type(model).__name__} has an encoder for its prompt; patch a model that is a decoder alone"
            )
        self._model: Any = model
        self._decoder: Any = text_decoder(model)
        attentions = decoder_attentions(self._decoder)
        self.layers = choose_layers(layers, attentions)
        self.mode = mode
        if any(is_tapped(attention) for attention in attentions):
            raise InputError("the model is patched already; call remove() on the earlier handle, or before a copy")
        self._clip: Clip | None = None
        self._open = False
        self._taps = [Tap(attentions[i], LayerRecorder(i, i == self.layers[0], mode == "fused")) for i in self.layers]
        self._recorders = [tap.recorder for tap in self._taps]
        for tap in self._taps:
            tap.install()
        self._hooks = [model.register_forward_pre_hook(self._see_inputs, with_kwargs=True)]
        rotary = getattr(self._decoder, "rotary_emb", None)
        if isinstance(rotary, nn.Module):
            self._hooks.append(rotary.register_forward_pre_hook(self._see_positions, with_kwargs=True))

    @contextmanager
    def clip(
        self,
        columns: slice | Sequence[slice],
        include_last_prompt_row: bool = True,
        prompt_length: int | None = None,
        key_starts: Sequence[int] | None = None,
    ) -> Iterator[None]:
        """While open, the model's calls are watched so that `scores` can be read, inside or afterwards.

        columns: the prompt positions to score, in the padded prompt; one slice for all batch rows, or one each, of
        equal lengths. With `include_last_prompt_row` the rows averaged are those whose forward pass produces the
        caption's tokens; without, those of the tokens themselves, except the last one's, which is never computed (of
        a caption of one token, the row that produced it).
        prompt_length: positions of the padded prompt; found where `generate` runs, or a loop feeds every new token
        but the last; give it for any other loop, which must run in this thread. key_starts: the first key of each
        batch row, for a loop that attends to left-padded rows without an attention mask.
        Of several generate calls the last one counts; those of other threads beside or after one of this thread do not.
        Raises InputError for columns that are no range or lie beyond the prompt, and, from within the model, for
        decoding that the mode cannot score.
        """
        if not self._hooks:
            raise InputError("this handle was removed; patch the model again")
        if self._open:
            raise InputError("a clip is open already; close it before the next one")
        for tap in self._taps:
            tap.check_unchanged()
        self._start(Clip(columns, include_last_prompt_row, prompt_length, key_starts, rescore=self.mode == "rescore"))
        self._open = True
        try:
            with watched_generate(self._model, self._see_generate):
                yield
        except BaseException:
            self._release()
            raise
        finally:
            self._open = False
            self._watch(None)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside an open clip: what the model is given meanwhile, with a cache of its own, is no part of the clip."""
        self._watch(None)
        try:
            yield
        finally:
            self._watch(self._clip if self._open else None)

    def scores(self, out: Any, lengths: Sequence[int] | None = None) -> torch.Tensor:
        """Mean attention of the caption's rows on each column, float32 `[B, n]` on the model's device.

        out: what `generate` returned (ids, or an output object), or the new ids `[B, N]` of another loop. A caption
        ends with its first end-of-sequence token, which counts; ids after it do not. lengths: how many ids each caption
        has, where it ended otherwise. The softmax runs over all keys, as
        the cache holds them at the end: one that quantises them adds its rounding. What was kept of the clip is then
        let go, so call it once, before a static cache is used again. Raises InputError if nothing was generated since
        `clip` was entered, or if `out` does not fit what was.
        """
        clip = self._clip
        if clip is None or any(recorder.key is None for recorder in self._recorders):
            raise InputError(
                "there is nothing to score; generate inside `with handle.clip(...)`, then call scores once"
            )
        clip.check_positions()
        ids = new_ids(out, clip.generation)
        prompt_length = clip.prompt_length(ids.shape[1], int(self._recorders[0].end))
        if self.mode == "rescore":
            self._watch(clip)
            clip.move_here()
            try:
                key_starts = feed_caption(self._decoder, self._recorders, clip, ids, prompt_length)
            finally:
                self._watch(clip if self._open else None)
        else:
            key_starts = clip.key_starts()
        padding = None if clip.generation is None else clip.generation.padding_id
        counted = counted_rows(ids, self._eos_token_ids(clip), clip.include_last_prompt_row, padding, lengths)
        first_row = prompt_length - 1
        if not counted[:, 0].any():  # then the prompt may have run before the clip was entered
            first_row, counted = first_row + 1, counted[:, 1:]
        for recorder in self._recorders:
            recorder.check_rows(first_row, *counted.shape)
            if recorder.own_mask is not None:
                clip.check_mask(recorder.index, *recorder.own_mask)
        columns = Columns(clip.starts_of(ids.shape[0]), clip.num_columns, key_starts)
        scores = mean_attention(self._recorders, columns, first_row, counted, self._model.device)
        self._release()
        return scores

    def remove(self) -> None:
        """Take everything back. Calling it again does nothing."""
        self._release()
        for tap in self._taps if self._hooks else ():
            tap.uninstall()
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    @property
    def num_columns(self) -> int:
        """Columns of the clip that is open or not scored yet; 0 if there is none."""
        return 0 if self._clip is None else self._clip.num_columns

    def __enter__(self) -> Handle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()

    def _start(self, clip: Clip) -> None:
        self._clip = clip
        for recorder in self._recorders:
            recorder.start(clip)

    def _watch(self, clip: Clip | None) -> None:
        for recorder in self._recorders:
            recorder.clip = clip

    def _release(self) -> None:
        self._clip = None
        self._watch(None)
        for recorder in self._recorders:
            recorder.forget()

    def _eos_token_ids(self, clip: Clip) -> tuple[int, ...]:
        if clip.generation is not None:
            return clip.generation.eos_token_ids
        config = getattr(self._model, "generation_config", None) or self._decoder.config
        return as_ids(getattr(config, "eos_token_id", None))

    def _see_generate(self, generation: Generation) -> AbstractContextManager[None]:
        with _ONE_AT_A_TIME:
            clip = self._recorders[0].clip
            if clip is not None and clip.generates_here():
                return self.paused()  # early exit: the model is its own assistant
            if clip is not None and clip.may_generate():
                clip.see_generate(generation)
                self._start(clip)
            return nullcontext()

    def _see_inputs(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        clip = self._recorders[0].clip_here
        if clip is not None:
            clip.see_inputs(kwargs.get("inputs_embeds"), kwargs.get("position_ids"))

    def _see_positions(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        clip = self._recorders[0].clip_here
        if clip is not None:
            clip.see_positions(kwargs["position_ids"] if "position_ids" in kwargs else args[1])
