"""Caption batches: `[prefix | memory | separator | clip | newline | suffix | caption]` and their loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from benchmarks.quality.world import grammar, prompts

from .model import FRAMES_PER_CLIP, MEMORY_SLOTS
from .pool import Pool, memory_slots

MOTION_LAYER = 2  # hidden states that the motion probe reads: after this many layers


@dataclass(frozen=True)
class CaptionMix:
    """What a stage's clips are like."""

    things: tuple[int, ...] = (1, 2)
    frames: tuple[int, ...] = (16,)  # how many frames, spread over the clip
    short: float = 0.0  # share of batches with only the first frames of a clip
    memory: float = 0.0  # share of batches with foreign memory
    probe: float = 0.0  # weight of the motion probe


def embed_ids(model: nn.Module, ids: list[int]) -> Tensor:
    return model.get_input_embeddings()(torch.tensor(ids))


def prompt_parts(model: nn.Module, tokenizer: Tokenizer, clip: Tensor, memory: Tensor | None) -> list[Tensor]:
    """The prompt's embeddings, part by part; `clip [B, n, hidden]`, `memory [B, m, hidden]` or None."""
    rows = clip.shape[0]
    newline = model.model.image_newline[None, None].expand(rows, 1, -1)
    prefix = embed_ids(model, tokenizer.encode(prompts.CAPTION_PREFIX, add_special_tokens=False).ids)
    suffix = embed_ids(model, tokenizer.encode(prompts.CAPTION_SUFFIX, add_special_tokens=False).ids)
    parts = [prefix[None].expand(rows, -1, -1)]
    if memory is not None:
        parts += [memory, newline]
    return [*parts, clip, newline, suffix[None].expand(rows, -1, -1)]


@dataclass
class CaptionBatch:
    clip: Tensor  # [B, frames * 16, hidden]
    memory: Tensor | None
    ids: Tensor  # [B, length] caption and <|im_end|>, -100 behind
    motion: Tensor  # [B, frames * 16] motion of the thing in a cell, -100 where none or not yet to be known


def draw(pool: Pool, tokenizer: Tokenizer, rng: np.random.Generator, mix: CaptionMix, rows: int) -> CaptionBatch:
    """A batch from the pool; frames and memory length are the same for all its rows."""
    count = int(rng.choice(mix.frames))
    short = rng.random() < mix.short
    still = False
    if short:
        count = int(rng.choice([1, *range(4, FRAMES_PER_CLIP + 1)]))
        still = count == 1
        chosen = np.arange(count) + int(rng.integers(0, FRAMES_PER_CLIP - count + 1))
    else:
        edges = np.linspace(0, FRAMES_PER_CLIP, count + 1)
        chosen = np.floor(edges[:-1] + rng.random() * np.diff(edges) * 0.999).astype(int)
    eligible = pool.still if still else pool.by_count[tuple(mix.things)]
    clips = rng.choice(eligible, rows, replace=len(eligible) < rows)
    frames = pool.tokens[torch.from_numpy(clips)][:, torch.from_numpy(chosen)]
    owner = pool.owner[clips][:, chosen].reshape(rows, -1)
    motion = np.full(owner.shape, -100, np.int64)
    for row, clip in enumerate(clips):
        kinds = np.array([grammar.MOTIONS.index(t.motion) for t in pool.things[clip]])
        motion[row] = np.where(owner[row] >= 0, kinds[owner[row]], -100)
    motion.reshape(rows, count, -1)[:, : (count + 2) // 3] = -100
    memory = None
    if rng.random() < mix.memory:
        slots = MEMORY_SLOTS if rng.random() < 0.4 else int(rng.integers(1, MEMORY_SLOTS + 1))
        memory = memory_slots(pool, rng, rows, slots).float()
    end = tokenizer.token_to_id("<|im_end|>")
    told = [[*tokenizer.encode(grammar.caption(pool.things[c])).ids, end] for c in clips]
    ids = torch.full((rows, max(map(len, told))), -100)
    for row, caption in enumerate(told):
        ids[row, : len(caption)] = torch.tensor(caption)
    return CaptionBatch(frames.flatten(1, 2).float(), memory, ids, torch.from_numpy(motion))


def loss(
    model: nn.Module, tokenizer: Tokenizer, probe: nn.Linear, batch: CaptionBatch, weight: float
) -> tuple[Tensor, dict[str, float]]:
    """Cross entropy of the captions (plus `weight` times the motion probe's), and the share told exactly."""
    parts = prompt_parts(model, tokenizer, batch.clip, batch.memory)
    told = model.get_input_embeddings()(batch.ids[:, :-1].clamp(min=0))
    sequence = torch.cat([part.to(told.dtype) for part in [*parts, told]], dim=1)
    out = model.model.language_model(inputs_embeds=sequence, use_cache=False, output_hidden_states=weight > 0)
    hidden = out.last_hidden_state[:, -batch.ids.shape[1] :]
    logits = model.lm_head(hidden).float()
    total = F.cross_entropy(logits.flatten(0, 1), batch.ids.flatten())
    right = (logits.argmax(-1) == batch.ids) | (batch.ids < 0)
    figures = {"caption": total.item(), "exact": right.all(1).float().mean().item()}
    known = batch.motion >= 0
    if weight > 0 and known.any():
        start = sum(part.shape[1] for part in parts[:-3])
        seen = out.hidden_states[MOTION_LAYER][:, start : start + batch.clip.shape[1]]
        guess = probe(F.layer_norm(seen.float(), seen.shape[-1:]))
        extra = F.cross_entropy(guess.flatten(0, 1), batch.motion.flatten())
        figures["motion"] = (guess.argmax(-1) == batch.motion)[known].float().mean().item()
        total = total + weight * extra
    return total, figures
