"""Caption batches of the second world: a clip after its own stream's memory, told as far as both can tell."""

from __future__ import annotations

import numpy as np
import torch
from tokenizers import Tokenizer

from .captioning import CaptionBatch
from .stream_pool import StreamPool, draw_memory_length

PAST_SHARE = 0.25  # of the rows with memory: clips that need it
HALF_SHARE = 0.35  # of the batches without memory: every second frame only


def draw(
    pool: StreamPool, tokenizer: Tokenizer, rng: np.random.Generator, tokens: int, memory: int | None = None
) -> CaptionBatch:
    """A batch of about `tokens` prompt tokens; all its rows have the same number of memory slots."""
    slots = draw_memory_length(rng) if memory is None else memory
    step = 2 if not slots and memory is None and rng.random() < HALF_SHARE else 1
    rows = max(2, tokens // (44 + 256 // step + 16 * slots))
    end = tokenizer.token_to_id("<|im_end|>")
    clips, motions, memories, told = [], [], [], []
    while len(told) < rows:
        source = pool.past if slots and rng.random() < PAST_SHARE else pool.clips
        stream, clip = source[rng.integers(len(source))]
        if clip < slots:
            continue
        clips.append(pool.tokens[stream, clip, ::step].flatten(0, 1))
        motions.append(torch.from_numpy(pool.motions(stream, clip)[::step].reshape(-1)))
        if slots:
            memories.append(pool.memory(rng, stream, clip, slots))
        told.append([*tokenizer.encode(pool.target(stream, clip, slots)).ids, end])
    ids = torch.full((rows, max(map(len, told))), -100)
    for row, caption in enumerate(told):
        ids[row, : len(caption)] = torch.tensor(caption)
    visual = torch.stack(clips).float()
    return CaptionBatch(visual, torch.stack(memories).float() if slots else None, ids, torch.stack(motions))
