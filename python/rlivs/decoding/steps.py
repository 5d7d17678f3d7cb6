"""Greedy decoding one step at a time: the prompt, then one token after another, all on the model's device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache

from rlivs.backbones.protocol import Prompt
from rlivs.versions import cache_argument

# A longer prompt is run in pieces of this many positions, so that a piece's activations bound the memory. A caption's
# and an answer's prompt of the usual size are one piece each: only the first piece needs no mask.
PREFILL_CHUNK = 12_288


class Steps:
    """The language model with a KV cache and the token it chose last.

    `token` `[1, 1]` int64 (`[B, 1]`, a row a prompt, where several texts are made at once) stays the same tensor and is
    overwritten by every step, so a step can be captured and replayed. The model's wrapper for pixels is left out: the
    language model is called directly.
    """

    def __init__(self, model: Any, prompts: Prompt | Sequence[Prompt], cache: Cache) -> None:
        self.decoder = model.get_decoder()
        self._head = model.get_output_embeddings()
        self._cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
        self._prompts = [prompts] if isinstance(prompts, Prompt) else list(prompts)
        self._cache, self._cache_argument = cache, cache_argument(self.decoder)
        device = self._prompts[0].inputs_embeds.device
        self.token = torch.zeros(len(self._prompts), 1, dtype=torch.long, device=device)
        self._position = torch.cat([prompt.next_position() for prompt in self._prompts], dim=-2).to(device)

    def prefill(self) -> None:
        """Run the prompt and choose the first token."""
        (prompt,) = self._prompts
        self._choose(self._run_prompt(prompt, prompt.length))

    def _run_prompt(self, prompt: Prompt, stop: int) -> torch.Tensor:
        """Run the first `stop` positions of a prompt; the hidden states of the last piece."""
        for start, end in prompt.pieces(PREFILL_CHUNK):
            if start < stop:
                hidden = self._run(**prompt.inputs(start, min(end, stop)))
        return hidden

    def step(self) -> None:
        """Feed the last token and choose the next."""
        hidden = self._run(input_ids=self.token, position_ids=self._position)
        self._position.add_(1)
        self._choose(hidden)

    def _run(self, **inputs: Any) -> torch.Tensor:
        return self.decoder(**inputs, **{self._cache_argument: self._cache}, use_cache=True).last_hidden_state

    def _choose(self, hidden: torch.Tensor) -> None:
        logits = self._head(hidden[:, -1:])
        if self._cap is not None:
            # In a small dtype it makes close logits equal, and of equal ones the first is chosen.
            logits = torch.tanh(logits / self._cap) * self._cap
        self.token.copy_(logits.argmax(-1))
