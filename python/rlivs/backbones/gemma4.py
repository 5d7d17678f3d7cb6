"""Gemma 4: frames of any shape at a budget of tokens, times between them, a language model of two kinds of layers."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AddedToken
from transformers.masking_utils import (
    ALL_MASK_ATTENTION_FUNCTIONS,
    and_masks,
    blockwise_overlay,
    causal_mask_function,
    or_masks,
    sliding_window_overlay,
)

from rlivs.backbones.interleaved import InterleavedBackbone, minutes_and_seconds
from rlivs.backbones.loaded import relative_times
from rlivs.backbones.preprocessing import PixelRecipe, channels_first, normalise, resize
from rlivs.backbones.pretrained import Pretrained
from rlivs.backbones.protocol import Prompt, VisualTokens
from rlivs.backbones.qwen2_vl import USUAL_FRAME
from rlivs.errors import InputError
from rlivs.memory.visual import SelectedTokens

VIDEO_TOKENS = 70  # a frame's, where the settings of the checkpoint's processor do not say


@dataclass(frozen=True, kw_only=True)
class Gemma4Prompt(Prompt):
    """A prompt of tokens `ids` `[S]`, the padding token at visual places: their part of what each layer is fed.

    Where pictures see themselves, `pictures` `[S]` numbers the tokens of each from 1 on and has 0 at text.
    """

    decoder: Any
    ids: torch.Tensor
    pictures: torch.Tensor | None = None

    def inputs(self, start: int, stop: int) -> dict[str, Any]:
        inputs = super().inputs(start, stop)
        if self.decoder.hidden_size_per_layer_input:
            inputs["per_layer_inputs"] = self.decoder.get_per_layer_inputs(self.ids[None, start:stop], None)
        if self.pictures is not None and bool(self.pictures[start:stop].any()):
            inputs["attention_mask"] = self._masks(self.pictures, start, stop)
        return inputs

    def pieces(self, longest: int) -> Iterator[tuple[int, int]]:
        """No picture that sees itself is cut; one of more than `longest` tokens is a piece of its own."""
        if self.pictures is None:
            yield from super().pieces(longest)
            return
        following = torch.nn.functional.pad(self.pictures[1:], (0, 1))
        ends = (((self.pictures == 0) | (self.pictures != following)).nonzero().flatten() + 1).tolist()
        start = 0
        while start < self.length:
            stop = ends[max(bisect_right(ends, start + longest) - 1, bisect_right(ends, start))]
            yield start, stop
            start = stop

    def _masks(self, pictures: torch.Tensor, start: int, stop: int) -> dict[str, Any]:
        """For each kind of layer: all are causal, but for pictures in sliding windows, which see all of themselves."""
        config = self.decoder.config
        options = {
            "batch_size": 1,
            "q_length": stop - start,
            "q_offset": start,
            "dtype": self.inputs_embeds.dtype,
            "device": self.inputs_embeds.device,
            "config": config,
        }
        make = ALL_MASK_ATTENTION_FUNCTIONS[config._attn_implementation]
        seen = or_masks(causal_mask_function, blockwise_overlay(pictures[None] - 1))
        first = max(0, start - config.sliding_window + 1)  # the oldest position that a sliding layer's cache holds
        return {
            "full_attention": make(kv_length=stop, **options),
            "sliding_attention": make(
                kv_length=stop - first,
                kv_offset=first,
                mask_function=and_masks(seen, sliding_window_overlay(config.sliding_window)),
                allow_is_causal_skip=False,
                **options,
            ),
        }


class Gemma4(InterleavedBackbone):
    """The Gemma 4 family, model type `gemma4`.

    Each frame stands in image brackets behind its time, in minutes and seconds since the clip's start. In the smaller
    models each layer is also fed an embedding of its own of every token. In the larger ones
    (`use_bidirectional_attention` is "vision") the tokens of a picture see each other in the layers of a sliding
    window; so do those of memory.
    """

    placeholder = "<|video|>"
    image_token = "<|video|>"
    brackets = ("<|image>", "<image|>")
    reserved = (image_token, *brackets)

    def __init__(self, pretrained: Pretrained) -> None:
        # In most checkpoints' tokenizers it is no special token; the hub's processor makes it one, too.
        pretrained.tokenizer.add_tokens([AddedToken(self.image_token, special=True, normalized=False)])
        super().__init__(pretrained)
        config = self.model.config
        self._recipe = PixelRecipe.of({**pretrained.pixel_settings, "size": 1})
        self._budget = int(pretrained.pixel_settings.get("max_soft_tokens", VIDEO_TOKENS))
        self._patch, self._pooled = config.vision_config.patch_size, config.vision_config.pooling_kernel_size
        self.grid = fit_budget(*USUAL_FRAME, self._budget, self._patch * self._pooled)
        self._decoder = self.model.get_decoder()
        self._padding_id = config.get_text_config().pad_token_id
        self._pictures_see_themselves = config.get_text_config().use_bidirectional_attention == "vision"
        attention = self._decoder.config._attn_implementation
        if self._pictures_see_themselves and attention not in ("sdpa", "eager"):
            raise InputError(
                f"the pictures of the model {self.name} see all of themselves, which attn_implementation='{attention}' "
                "does not do; use 'sdpa'"
            )

    @torch.no_grad()
    def encode(self, frames: np.ndarray | torch.Tensor, times: Sequence[float] | None = None) -> VisualTokens:
        """Visual tokens of frames `[n, H, W, 3]` uint8 RGB, up to 70 a frame, unless the checkpoint has more."""
        tower = self.model.model.vision_tower
        images = channels_first(frames, tower.device)
        cell = self._patch * self._pooled
        height, width = images.shape[-2:]
        rows, columns = fit_budget(height, width, self._budget, cell)
        pixels = normalise(resize(images, rows * cell, columns * cell, self._recipe.filter), self._recipe)
        features = self.model.model.get_image_features(*cut_patches(pixels, self._patch)).pooler_output
        return VisualTokens(
            self.as_embeddings(torch.cat(list(features))), (rows, columns), times=relative_times(times, len(frames))
        )

    def write_clip(self, clip: VisualTokens) -> str:
        picture = self.write_picture(clip.grid[0] * clip.grid[1])
        return " ".join(f"{minutes_and_seconds(time)} {picture}" for time in clip.times)

    def caption_prompt(self, clip: VisualTokens, memory: Sequence[SelectedTokens], text: str) -> Prompt:
        ids = self.token_ids(clip, memory, text)
        embeds, places = self.fill(ids, clip, memory)
        own = places[-clip.count :]
        pictures = None
        if self._pictures_see_themselves:
            visual = torch.zeros(len(ids), dtype=torch.bool, device=self.device).index_fill(0, places, True)
            begins = visual & ~torch.nn.functional.pad(visual[:-1], (1, 0))
            pictures = begins.cumsum(0) * visual
        return Gemma4Prompt(
            inputs_embeds=embeds[None],
            columns=slice(int(own[0]), int(own[-1]) + 1),
            visual=own - own[0],
            decoder=self._decoder,
            ids=self._known(ids),
            pictures=pictures,
        )

    def text_prompt(self, text: str) -> Prompt:
        ids = self.chat.alone(text)
        return Gemma4Prompt(
            inputs_embeds=self.embed(ids)[None], columns=slice(0, 0), decoder=self._decoder, ids=self._known(ids)
        )

    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        return super().embed(self._known(ids).tolist())

    def _known(self, ids: Sequence[int]) -> torch.Tensor:
        """The ids `[n]`, the padding token in place of the visual one, which the model need not know."""
        known = torch.tensor(ids, dtype=torch.long, device=self.device)
        return known.masked_fill(known == self._image_id, self._padding_id)


def fit_budget(height: int, width: int, budget: int, cell: int) -> tuple[int, int]:
    """(rows, columns) of the most squares of `cell` pixels, up to `budget`, that a frame covers once resized."""
    factor = math.sqrt(budget * cell**2 / (height * width))
    rows, columns = int(factor * height / cell), int(factor * width / cell)
    if rows == 0:
        return 1, min(width // height, budget)
    if columns == 0:
        return min(height // width, budget), 1
    return rows, columns


def cut_patches(pixels: torch.Tensor, patch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches `[n, rows * columns, patch * patch * 3]` of `[n, 3, H, W]`, row by row, and (column, row) of each."""
    frames, _, height, width = pixels.shape
    rows, columns = height // patch, width // patch
    split = pixels.reshape(frames, 3, rows, patch, columns, patch).permute(0, 2, 4, 3, 5, 1)
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).flip(-1).to(pixels.device)
    return split.reshape(frames, rows * columns, -1), places.expand(frames, -1, -1)
