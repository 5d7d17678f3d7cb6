"""Caption batches of the second world: a clip after its own stream's memory, told as far as both can tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from benchmarks.quality.world import grammar, prompts

from .captioning import CaptionBatch
from .stream_pool import StreamPool, draw_memory_length

PAST_SHARE = 0.4  # of the rows with memory: clips that need it
HALF_SHARE = 0.35  # of the batches without memory: every second frame only


@dataclass
class Recall:
    """A word of a hidden thing: the row and token of a caption batch, and the memory tokens that show the thing."""

    row: int
    token: int
    columns: Tensor  # [n] int64, counted from the first memory token


def draw(
    pool: StreamPool, tokenizer: Tokenizer, rng: np.random.Generator, tokens: int, memory: int | None = None
) -> tuple[CaptionBatch, list[Recall]]:
    """A batch of about `tokens` prompt tokens; all its rows have the same number of memory slots."""
    slots = draw_memory_length(rng) if memory is None else memory
    step = 2 if not slots and memory is None and rng.random() < HALF_SHARE else 1
    rows = max(2, tokens // (44 + 256 // step + 16 * slots))
    end = tokenizer.token_to_id("<|im_end|>")
    clips, motions, memories, told = [], [], [], []
    recalls: list[Recall] = []
    while len(told) < rows:
        source = pool.past if slots and len(pool.past) and rng.random() < PAST_SHARE else pool.clips
        stream, clip = source[rng.integers(len(source))]
        if clip < slots:
            continue
        clips.append(pool.tokens[stream, clip, ::step].flatten(0, 1))
        motions.append(torch.from_numpy(pool.motions(stream, clip)[::step].reshape(-1)))
        told.append([*tokenizer.encode(pool.target(stream, clip, slots)).ids, end])
        if slots:
            kept, colours = pool.memory(rng, stream, clip, slots)
            memories.append(kept)
            for name in pool.truths[stream][clip].hidden:
                colour = name.split()[0]
                columns = np.flatnonzero(colours == grammar.COLOURS.index(colour))
                word = tokenizer.token_to_id(f" {colour}")
                if len(columns) and word in told[-1]:
                    at = told[-1].index(word)
                    recalls += [Recall(len(told) - 1, at + i, torch.from_numpy(columns)) for i in (0, 1)]
    ids = torch.full((rows, max(map(len, told))), -100)
    for row, caption in enumerate(told):
        ids[row, : len(caption)] = torch.tensor(caption)
    visual = torch.stack(clips).float()
    batch = CaptionBatch(visual, torch.stack(memories).float() if slots else None, ids, torch.stack(motions))
    return batch, recalls


def recall_loss(model: nn.Module, tokenizer: Tokenizer, batch: CaptionBatch, recalls: list[Recall]) -> Tensor:
    """How little one head of the last layer looks at a hidden thing in memory while it is named.

    Only memory's columns are trained this way: a clip's own columns, which are what scores are made of, are not.
    """
    weights = model.model.language_model.layers[-1].self_attn.kept_weights
    first = len(tokenizer.encode(prompts.CAPTION_PREFIX, add_special_tokens=False).ids)
    rows = weights.shape[2] - batch.ids.shape[1]
    seen = [weights[r.row, 0, rows + r.token, first + r.columns].float().sum() for r in recalls]
    return -torch.stack(seen).clamp(min=1e-4).log().mean()
