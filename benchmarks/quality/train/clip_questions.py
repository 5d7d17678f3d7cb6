"""Question batches about clips: some visual tokens, then several questions that do not see each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from benchmarks.quality.world import prompts
from benchmarks.quality.world.spread import CELLS, uniform_columns
from benchmarks.quality.world.stream_questions import CLIP_KINDS, about_clip
from benchmarks.quality.world.streams import NAMES

from .captioning import MOTION_LAYER
from .stream_pool import StreamPool

Ask = tuple[str, list[int], list[int]]  # kind, ids of the question's tail, ids of its answer
DRAWN = (*CLIP_KINDS, "motion", "colour")  # the harder ones more often
KEPT = (3, 8, 16, 16, 31, 64, 256)


@dataclass
class ClipQuestionBatch:
    visual: Tensor  # [B, k, hidden]
    ids: Tensor  # [B, length]: questions with their answers, one behind the other
    positions: Tensor  # [B, length]: every question starts right behind the tokens
    group: Tensor  # [B, length]: number of the question, -2 padding
    targets: Tensor  # [B, length]
    kinds: list[list[str]]
    motion: Tensor | None = None  # [B, k]: motion of the thing in a kept cell, -100 where there is none to know


def question_tail(question: str) -> str:
    """What follows the visual tokens and the newline when a question is asked about them."""
    return f"\n{question}<|im_end|><|im_start|>assistant\n"


def keep(pool: StreamPool, rng: np.random.Generator, stream: int, clip: int, count: int) -> np.ndarray:
    """Columns `[count]`, ascending: evenly spread, at random, or those of things first."""
    total = pool.thing.shape[-1]
    way = rng.integers(3)
    if way == 0:
        return uniform_columns(count, total, int(rng.integers(CELLS))).numpy()
    weight = rng.random(total) + (pool.thing[stream, clip] if way == 1 else 0)
    return np.sort(np.argpartition(-weight, count - 1)[:count])


def draw(
    pool: StreamPool, tokenizer: Tokenizer, rng: np.random.Generator, tokens: int, asked: int = 8
) -> ClipQuestionBatch:
    """Questions about clips of the pool, `asked` to each; all rows keep the same number of tokens."""
    count = int(rng.choice(KEPT))
    rows = max(2, tokens // (count + 22 * asked))
    end = tokenizer.token_to_id("<|im_end|>")
    visual, motions, packed = [], [], []
    for _ in range(rows):
        stream, clip = pool.clips[rng.integers(len(pool.clips))]
        columns = keep(pool, rng, stream, clip, count)
        visual.append(pool.tokens[stream, clip].flatten(0, 1)[torch.from_numpy(columns)])
        motions.append(torch.from_numpy(pool.motions(stream, clip).reshape(-1)[columns]))
        truth = pool.truths[stream][clip]
        shown = names_near(pool, stream, clip)
        elsewhere = tuple(name for name in NAMES if name not in shown)
        asks = []
        while len(asks) < asked:
            kind = DRAWN[rng.integers(len(DRAWN))]
            question = about_clip(rng, kind, truth.seen_things, elsewhere)
            if question is not None:
                tail = tokenizer.encode(question_tail(question.text), add_special_tokens=False).ids
                answer = [*tokenizer.encode(question.answer, add_special_tokens=False).ids, end]
                asks.append((kind, tail, answer))
        packed.append(asks)
    ids, positions, group, targets = pack(packed)
    kinds = [[kind for kind, _, _ in asks] for asks in packed]
    return ClipQuestionBatch(torch.stack(visual).float(), ids, positions, group, targets, kinds, torch.stack(motions))


def pack(packed: list[list[Ask]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each row's questions one behind the other: ids, positions, group and targets of `ClipQuestionBatch`."""
    rows = len(packed)
    length = max(sum(len(tail) + len(answer) - 1 for _, tail, answer in asks) for asks in packed)
    ids, positions = torch.zeros(rows, length, dtype=torch.long), torch.zeros(rows, length, dtype=torch.long)
    targets, group = torch.full((rows, length), -100), torch.full((rows, length), -2)
    for row, asks in enumerate(packed):
        at = 0
        for number, (_, tail, answer) in enumerate(asks):
            whole = tail + answer[:-1]
            stop = at + len(whole)
            ids[row, at:stop] = torch.tensor(whole)
            positions[row, at:stop] = torch.arange(len(whole))
            group[row, at:stop] = number
            targets[row, at + len(tail) - 1 : stop] = torch.tensor(answer)
            at = stop
    return ids, positions, group, targets


def names_near(pool: StreamPool, stream: int, clip: int) -> set[str]:
    """Every name that may be on screen in the clip, told or not."""
    start, end = clip * 8.0, clip * 8.0 + 8.0
    shots = [shot for shot in pool.streams[stream].shots if shot.start < end and shot.end > start]
    return {actor.name for shot in shots for actor in shot.actors}


def loss(
    model: nn.Module, tokenizer: Tokenizer, batch: ClipQuestionBatch, probe: nn.Linear, weight: float
) -> tuple[Tensor, dict[str, float]]:
    """Cross entropy of the answers (plus `weight` times the motion probe's), and the share answered exactly by kind."""
    wanted = batch.targets >= 0
    first, hidden = _hidden(model, tokenizer, batch, None)
    logits = model.lm_head(hidden[-1][:, first:][wanted]).float()
    value = F.cross_entropy(logits, batch.targets[wanted])
    right = torch.ones_like(batch.targets, dtype=torch.bool)
    right[wanted] = logits.argmax(-1) == batch.targets[wanted]
    hits: dict[str, list[float]] = {}
    for row, kinds in enumerate(batch.kinds):
        for number, kind in enumerate(kinds):
            hits.setdefault(kind, []).append(float(right[row][batch.group[row] == number].all()))
    figures = {"clip_answer": value.item()}
    if batch.motion is not None and (batch.motion >= 0).any():
        seen = hidden[MOTION_LAYER][:, first - 1 - batch.visual.shape[1] : first - 1]
        guess = probe(F.layer_norm(seen.float(), seen.shape[-1:]))
        value = value + weight * F.cross_entropy(guess.flatten(0, 1), batch.motion.flatten())
        known = batch.motion >= 0
        figures["clip_probe"] = (guess.argmax(-1) == batch.motion)[known].float().mean().item()
    return value, figures | {f"clip_{k}": sum(v) / len(v) for k, v in sorted(hits.items())}


def answer_logits(
    model: nn.Module, tokenizer: Tokenizer, batch: ClipQuestionBatch, visual_positions: Tensor | None = None
) -> Tensor:
    """Logits `[targets, vocabulary]` where `batch.targets` has a token, row by row.

    `visual_positions` `[B, k]` spreads the visual tokens' rotary positions; they are 0, 1, .. k - 1 by default.
    """
    first, hidden = _hidden(model, tokenizer, batch, visual_positions)
    return model.lm_head(hidden[-1][:, first:][batch.targets >= 0]).float()


def _hidden(
    model: nn.Module, tokenizer: Tokenizer, batch: ClipQuestionBatch, visual_positions: Tensor | None
) -> tuple[int, tuple[Tensor, ...]]:
    """Where the questions start, and the hidden states after every layer."""
    embed = model.get_input_embeddings()
    rows, count = batch.visual.shape[:2]
    prefix = embed(torch.tensor(tokenizer.encode(prompts.CAPTION_PREFIX, add_special_tokens=False).ids))
    newline = model.model.image_newline[None, None].expand(rows, 1, -1)
    base = [prefix[None].expand(rows, -1, -1), batch.visual, newline]
    first = len(prefix) + count + 1
    sequence = torch.cat([*base, embed(batch.ids)], dim=1)
    total = sequence.shape[1]
    group = torch.cat([torch.full((rows, first), -1), batch.group], dim=1)
    positions = torch.cat([torch.arange(first).expand(rows, -1), batch.positions + first], dim=1)
    causal = torch.ones(total, total, dtype=torch.bool).tril()
    mask = ((group[:, :, None] == group[:, None, :]) | (group[:, None, :] == -1)) & causal
    bias = torch.zeros(rows, 1, total, total).masked_fill_(~mask[:, None], -1e9)
    if visual_positions is not None:
        positions = positions.clone()
        positions[:, len(prefix) : first - 1] = len(prefix) + visual_positions
        positions[:, first - 1 :] += int(visual_positions.max()) + 1 - count
    inner = model.model.language_model
    states = inner(
        inputs_embeds=sequence, attention_mask=bias, position_ids=positions, use_cache=False, output_hidden_states=True
    )
    return first, (*states.hidden_states[:-1], states.last_hidden_state)
