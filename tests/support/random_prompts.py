"""Prompts of random embeddings for the tiny models, and what `generate` says to them."""

import torch

from rlivs.backbones import Prompt
from rlivs.decoding import greedy_tokens

HIDDEN = 32
ENDS = tuple(range(0, 256, 16))  # so many end-of-sequence tokens that about half of the texts end early


def random_prompt(seed, shortest=1, longest=60):
    generator = torch.Generator().manual_seed(seed)
    length = int(torch.randint(shortest, longest + 1, (), generator=generator))
    return Prompt(torch.randn(1, length, HIDDEN, generator=generator), slice(0, max(1, length // 2)))


def by_generate(backbone, prompt, max_new_tokens):
    return backbone.model.generate(
        inputs_embeds=prompt.inputs_embeds,
        attention_mask=torch.ones(1, prompt.length, dtype=torch.long),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=list(backbone.eos_token_ids),
        pad_token_id=0,
    )


def in_turns(backbone, prompts, max_new_tokens):
    """The ids of several texts, one step of each at a time."""
    texts = [greedy_tokens(backbone, prompt, max_new_tokens) for prompt in prompts]
    return [list(ids) for ids in zip(*zip(*texts, strict=True), strict=True)]
