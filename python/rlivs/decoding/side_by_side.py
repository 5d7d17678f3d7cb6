"""Greedy decoding of several prompts at once: a step reads the model's weights once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import LinearAttentionLayer

from rlivs.backbones.protocol import Backbone, Prompt
from rlivs.decoding.fixed import FixedLayer, FixedSteps
from rlivs.decoding.graph import GraphedSteps, can_capture, has_plain_attention, only_device
from rlivs.decoding.reading import TokenReader
from rlivs.decoding.repetition import RepetitionGuard
from rlivs.decoding.steps import Steps


def side_by_side_refusal(model: Any) -> str | None:
    """Why texts of this model cannot be made side by side, None where they can."""
    if only_device(model) is None:
        return "it lies on several devices"
    if not has_plain_attention(model):
        return "its layers do not all attend to all positions by sdpa"
    return None


class SideBySideSteps(FixedSteps):
    """Steps of several texts, whose prompts all end at the same place of one cache, `padded_length` positions from its
    start: what stands before a shorter prompt is seen by no one.

    `prefill` runs each prompt by itself up to its last position, which the first `step` feeds for all of them: so each
    step that chooses tokens is one row of every text, in one call.
    """

    def __init__(self, model: Any, prompts: Sequence[Prompt], max_new_tokens: int) -> None:
        super().__init__(model, prompts, max_new_tokens)
        self._model = model
        self.padded_length = max(prompt.length for prompt in prompts)
        self.starts = tuple(self.padded_length - prompt.length for prompt in prompts)
        self._key_starts = torch.tensor(self.starts, dtype=torch.int32, device=self.token.device)
        self._last_rows: dict[str, torch.Tensor] | None = None

    @torch.no_grad()
    def prefill(self, between_prompts: Callable[[], None] | None = None) -> None:
        """Run all prompts but for their last positions; `between_prompts` is called between two."""
        states: list[list[Any]] = []
        for row, (prompt, start) in enumerate(zip(self._prompts, self.starts, strict=True)):
            cache = DynamicCache(config=self.decoder.config)
            if prompt.length > 1:
                Steps(self._model, prompt, cache)._run_prompt(prompt, prompt.length - 1)
                for own, shared in zip(cache.layers, self._cache.layers, strict=True):
                    if isinstance(shared, FixedLayer):
                        shared.fill(row, start, len(self._prompts), own.keys, own.values)
            if between_prompts is not None and row:
                between_prompts()
            states.append([each for each in cache.layers if isinstance(each, LinearAttentionLayer)])
        _join(states, [each for each in self._cache.layers if isinstance(each, LinearAttentionLayer)])
        self.fed.hold(self.padded_length - 1)
        self.fed.count_on_device()
        rows = [prompt.inputs(prompt.length - 1, prompt.length) for prompt in self._prompts]
        self._last_rows = {
            name: torch.cat([row[name] for row in rows], dim=-2 if name == "position_ids" else 0) for name in rows[0]
        }

    def step(self) -> None:
        """Choose the next token of each text; feeds the last ones, or, the first time, the ends of the prompts."""
        if self._last_rows is None:
            super().step()
            return
        rows, self._last_rows = self._last_rows, None
        with self._fewer:
            self._choose(self._run(**rows))


class GraphedSideBySideSteps(GraphedSteps, SideBySideSteps):
    """The same, replayed as a CUDA graph from the third step on."""


def begin_side_by_side(model: Any, prompts: Sequence[Prompt], max_new_tokens: int) -> SideBySideSteps:
    """The steps of several texts by the fastest way there is here."""
    kind = GraphedSideBySideSteps if can_capture(model) else SideBySideSteps
    return kind(model, prompts, max_new_tokens)


@torch.no_grad()
def generate_side_by_side(
    backbone: Backbone,
    steps: SideBySideSteps,
    limits: Sequence[int],
    on_step: Callable[[], None] | None = None,
    guards: Sequence[RepetitionGuard] | None = None,
) -> list[list[int]]:
    """The new token ids of each text, after `steps.prefill()`: those of `generate_greedily`, within rounding.

    limits: the most tokens of each text. `on_step` is called when a step's tokens are known. A guard ends a text that
    loops, as in `generate_greedily`. Steps go on until all texts have ended.
    """
    texts: list[list[int]] = [[] for _ in limits]
    going = set(range(len(texts)))
    for guard in guards or ():
        guard.start()
    for tokens in _tokens(steps, max(limits)):
        for row in sorted(going):
            texts[row].append(tokens[row])
            if tokens[row] in backbone.eos_token_ids or len(texts[row]) == limits[row]:
                going.remove(row)
            elif guards is not None and guards[row].add(tokens[row]):
                del texts[row][guards[row].kept :]
                going.remove(row)
        if on_step is not None:
            on_step()
        if not going:
            break
    return texts


def _tokens(steps: SideBySideSteps, count: int) -> Iterator[list[int]]:
    reader = TokenReader(count, len(steps.starts), steps.token.device)
    for _ in range(count):
        steps.step()
        yield from reader.put(steps.token)
    yield from reader.rest()


def _join(states: list[list[Any]], layers: list[LinearAttentionLayer]) -> None:
    """The states of linear attention, a list of layers a text, as one batch in `layers`."""
    for index, layer in enumerate(layers):
        texts = [text[index] for text in states]
        for number in texts[0].conv_states:
            conv = _batch([text.conv_states[number] for text in texts])
            recurrent = _batch([text.recurrent_states[number] for text in texts])
            if conv is not None and recurrent is not None:
                layer.update_conv_state(conv, number)
                layer.update_recurrent_state(recurrent, number)


def _batch(states: list[torch.Tensor | None]) -> torch.Tensor | None:
    """States `[1, ...]` as one tensor; zeros for a text that has none yet, None where none has."""
    known = next((state for state in states if state is not None), None)
    if known is None:
        return None
    return torch.cat([torch.zeros_like(known) if state is None else state for state in states])
