"""Greedy decoding of a prompt of embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from rlivs.backbones.protocol import Backbone, Prompt


class _TokenCallback:
    """Hands each new token id to a function, as generate's streamer."""

    def __init__(self, on_token: Callable[[int], None]) -> None:
        self._on_token = on_token

    def put(self, value: torch.Tensor) -> None:
        for token in value.reshape(-1).tolist():
            self._on_token(token)

    def end(self) -> None:
        """Nothing is held back."""


@torch.no_grad()
def generate_greedily(
    backbone: Backbone, prompt: Prompt, max_new_tokens: int, on_token: Callable[[int], None] | None = None
) -> torch.Tensor:
    """The new token ids `[1, n]` (int64), end-of-sequence token included where it came.

    Sampling, penalties and beams that the checkpoint's own generation settings may ask for are switched off:
    the paper's captions and answers are greedy. `on_token` is called with each id as it is decided.
    """
    from transformers import GenerationConfig

    eos = backbone.eos_token_ids
    settings = GenerationConfig(
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        temperature=1.0,
        top_k=50,
        top_p=1.0,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(eos),
        pad_token_id=eos[0],
    )
    extra: dict[str, Any] = {"streamer": _TokenCallback(on_token)} if on_token else {}
    attention_mask = torch.ones(prompt.inputs_embeds.shape[:2], dtype=torch.long, device=prompt.inputs_embeds.device)
    return backbone.model.generate(
        inputs_embeds=prompt.inputs_embeds,
        attention_mask=attention_mask,
        generation_config=settings,
        **prompt.model_inputs,
        **extra,
    )
