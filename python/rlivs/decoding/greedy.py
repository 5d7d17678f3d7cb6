"""Greedy decoding of a prompt of embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from transformers import DynamicCache

from rlivs.backbones.protocol import Backbone, Prompt
from rlivs.decoding.graph import GraphedSteps, can_capture
from rlivs.decoding.reading import TokenReader
from rlivs.decoding.repetition import RepetitionGuard
from rlivs.decoding.steps import Steps


@torch.no_grad()
def generate_greedily(
    backbone: Backbone,
    prompt: Prompt,
    max_new_tokens: int,
    on_token: Callable[[int], None] | None = None,
    *,
    guard: RepetitionGuard | None = None,
) -> torch.Tensor:
    """The new token ids `[1, n]` (int64), end-of-sequence token included where it came.

    The ids are those of `model.generate` without sampling, penalties and beams: the paper's captions and answers are
    greedy. On CUDA the steps are replayed as a CUDA graph, and a few may run beyond the end of the text, so whoever
    scores them needs `prompt.length`. `on_token` is called with each id once it is known. A `guard` cuts a text that
    loops, and says so in `guard.looped`; ids that `on_token` was given before may then be among those cut.
    """
    ids: list[int] = []
    if guard is not None:
        guard.start()
    for token in greedy_tokens(backbone, prompt, max_new_tokens):
        ids.append(token)
        if on_token is not None:
            on_token(token)
        if token in backbone.eos_token_ids:
            break
        if guard is not None and guard.add(token):
            del ids[guard.kept :]
            break
    return torch.tensor([ids], dtype=torch.long, device=prompt.inputs_embeds.device)


@torch.no_grad()
def greedy_tokens(backbone: Backbone, prompt: Prompt, max_new_tokens: int) -> Iterator[int]:
    """The tokens of `generate_greedily` one at a time, each after a step of the model; it does not stop by itself."""
    steps = begin_steps(backbone.model, prompt, max_new_tokens)
    reader = TokenReader(max_new_tokens, 1, steps.token.device)
    for index in range(max_new_tokens):
        if index == 0:
            steps.prefill()
        else:
            steps.step()
        for (token,) in reader.put(steps.token):
            yield token
    for (token,) in reader.rest():
        yield token


def begin_steps(model: Any, prompt: Prompt, max_new_tokens: int) -> Steps:
    """The steps of one text by the fastest way there is here: a CUDA graph over a static cache, or plain calls."""
    if can_capture(model):
        return GraphedSteps(model, prompt, max_new_tokens)
    return Steps(model, prompt, DynamicCache(config=model.get_decoder().config))
