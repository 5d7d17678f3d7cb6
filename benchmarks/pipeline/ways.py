"""The ways to caption and to answer that are timed side by side, on one model and the same prompts.

`eager-maps`: transformers' `generate`, and attention on the scored layers as rLiVS's own code runs it: eager, prompt
and answers included, with a caption's maps kept to its end as `output_attentions` does. `generate-sdpa`: the same
without scores. `ours`: the loop of this package with its tap. Frames are encoded, prompts built and captions retrieved
by the same code in all three.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, LogitsProcessorList
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from benchmarks.pipeline.clock import Marks, StepClock
from rlivs.backbones import Backbone, Prompt
from rlivs.decoding.greedy import begin_steps
from rlivs.decoding.reading import TokenReader
from rlivs.scoring import patch
from rlivs.scoring.layers import choose_layers, decoder_attentions, text_decoder

EAGER = "benchmark_eager_maps"


class Generate:
    """transformers' `generate` over sdpa, without scores."""

    name = "generate-sdpa"
    scores_captions = False

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    def text(self, prompt: Prompt, num_tokens: int, marks: Marks) -> torch.Tensor:
        """Ids `[1, num_tokens]`; marks the start and the moment of each token."""
        inputs: dict[str, Any] = {"inputs_embeds": prompt.inputs_embeds}
        inputs["attention_mask"] = torch.ones(1, prompt.length, dtype=torch.long, device=prompt.inputs_embeds.device)
        if prompt.position_ids is not None:
            inputs["position_ids"] = prompt.position_ids
        marks.mark()
        return self.backbone.model.generate(
            **inputs,
            max_new_tokens=num_tokens,
            do_sample=False,
            logits_processor=LogitsProcessorList([StepClock(marks)]),
        )

    def caption(self, prompt: Prompt, num_tokens: int, marks: Marks) -> torch.Tensor:
        """`text` of a clip's prompt; `scores` may be asked for next."""
        return self.text(prompt, num_tokens, marks)

    def scores(self, prompt: Prompt, ids: torch.Tensor) -> torch.Tensor | None:
        """Mean attention `[1, n]` of the last caption on its clip's visual tokens, None where there is none."""
        return None

    def close(self) -> None:
        """Leave the model as it was."""


class EagerMaps(Generate):
    """`generate` with eager attention on the scored layers, whose maps are kept while a caption is made."""

    name = "eager-maps"
    scores_captions = True

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone)
        attentions = decoder_attentions(text_decoder(backbone.model))
        self._attentions = [attentions[index] for index in choose_layers("auto", attentions)]
        self._shared = self._attentions[0].config
        self._maps: list[torch.Tensor] | None = None
        AttentionInterface.register(EAGER, self._attend)
        AttentionMaskInterface.register(EAGER, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
        config = copy.copy(self._shared)
        config._attn_implementation_internal = EAGER
        for attention in self._attentions:
            attention.config = config

    def caption(self, prompt: Prompt, num_tokens: int, marks: Marks) -> torch.Tensor:
        self._maps = []
        return self.text(prompt, num_tokens, marks)

    def scores(self, prompt: Prompt, ids: torch.Tensor) -> torch.Tensor | None:
        assert self._maps is not None
        # The last row of the prompt's map, and the one row of each later step's.
        rows = torch.stack([map_[:, :, -1, prompt.columns].float() for map_ in self._maps])
        self._maps = None
        return prompt.visual_scores(rows.mean((0, 2)))

    def close(self) -> None:
        for attention in self._attentions:
            attention.config = self._shared

    def _attend(
        self, module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **options: Any
    ) -> tuple[torch.Tensor, None]:
        """Eager attention: all weights at once, softmax in float32; they replace a map that a layer would return."""
        groups = query.shape[1] // key.shape[1]
        key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
        weights = torch.matmul(query, key.transpose(2, 3)) * options["scaling"]
        num_rows, num_keys = weights.shape[2:]
        if num_rows > 1:
            hidden = torch.ones(num_rows, num_keys, dtype=torch.bool, device=query.device).triu(num_keys - num_rows + 1)
            weights = weights + torch.zeros_like(hidden, dtype=query.dtype).masked_fill_(
                hidden, torch.finfo(query.dtype).min
            )
        weights = torch.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
        if self._maps is not None:
            self._maps.append(weights)
        return torch.matmul(weights, value).transpose(1, 2).contiguous(), None


class Ours(Generate):
    """This package's loop, its captions scored by the tap."""

    name = "ours"
    scores_captions = True

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone)
        self.tap = patch(backbone.model)

    @torch.no_grad()
    def text(self, prompt: Prompt, num_tokens: int, marks: Marks) -> torch.Tensor:
        marks.mark()
        steps = begin_steps(self.backbone.model, prompt, num_tokens)
        reader = TokenReader(num_tokens, 1, steps.token.device)
        ids = []
        for index in range(num_tokens):
            steps.step() if index else steps.prefill()
            marks.mark()
            ids += reader.put(steps.token)
        return torch.tensor(ids + reader.rest(), device=steps.token.device).T

    def caption(self, prompt: Prompt, num_tokens: int, marks: Marks) -> torch.Tensor:
        with self.tap.clip(prompt.columns, prompt_length=prompt.length):
            return self.text(prompt, num_tokens, marks)

    def scores(self, prompt: Prompt, ids: torch.Tensor) -> torch.Tensor | None:
        return prompt.visual_scores(self.tap.scores(ids))

    def close(self) -> None:
        self.tap.remove()


WAYS: dict[str, type[Generate]] = {way.name: way for way in (Ours, Generate, EagerMaps)}
