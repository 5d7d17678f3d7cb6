"""Question batches: one list of captions, several questions that share it but do not see each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from benchmarks.quality.world import prompts, questions, scenes


@dataclass
class AnswerBatch:
    ids: Tensor  # [B, length]
    positions: Tensor  # [B, length]: every question starts where the list ends
    mask: Tensor  # [B, 1, length, length] bool: the list, and one's own question so far
    targets: Tensor  # [B, length] the next token where it belongs to an answer, else -100
    owner: Tensor  # [B, length] number of the question a target belongs to, -1 elsewhere
    source: Tensor  # [B, length] column of the list that a target is read from, -1 where there is none
    kinds: list[list[str]]


def draw(
    tokenizer: Tokenizer,
    rng: np.random.Generator,
    rows: int,
    *,
    lines: tuple[int, int] = (1, 30),
    asked: int = 8,
    kinds: Sequence[str] = questions.KINDS,
) -> AnswerBatch:
    """`rows` lists of about equal length, `asked` questions to each."""
    end = tokenizer.token_to_id("<|im_end|>")
    packed = []
    count = int(rng.integers(lines[0], lines[1] + 1))
    for _ in range(rows):
        listed = questions.sample_lines(rng, count, scenes.sample_things)
        base = tokenizer.encode(prompts.ANSWER_HEAD, add_special_tokens=False).ids
        starts = []
        for line in listed:
            starts.append(len(base))
            text = prompts.caption_line(line.start, line.end, line.text)
            base = base + tokenizer.encode(text, add_special_tokens=False).ids
        asks = []
        for number in range(asked):
            kind = kinds[(number + int(rng.integers(len(kinds)))) % len(kinds)]
            question = questions.sample_question(rng, listed, kind) or questions.ask_at(
                listed, int(rng.integers(len(listed)))
            )
            tail = tokenizer.encode(prompts.answer_tail(question.text), add_special_tokens=False).ids
            answer = [*tokenizer.encode(question.answer, add_special_tokens=False).ids, end]
            asks.append((question.kind, tail, answer, sources(tokenizer, base, starts, question, len(answer))))
        packed.append((base, asks))
    length = max(len(base) + sum(len(t) + len(a) - 1 for _, t, a, _ in asks) for base, asks in packed)
    ids = torch.zeros(rows, length, dtype=torch.long)
    positions = torch.zeros(rows, length, dtype=torch.long)
    targets = torch.full((rows, length), -100)
    owner = torch.full((rows, length), -1)
    source = torch.full((rows, length), -1)
    group = torch.full((rows, length), -2)  # -1: the list, 0..: a question, -2: padding
    for row, (base, asks) in enumerate(packed):
        at = len(base)
        ids[row, :at] = torch.tensor(base)
        positions[row, :at] = torch.arange(at)
        group[row, :at] = -1
        for number, (_, tail, answer, read) in enumerate(asks):
            whole = tail + answer[:-1]
            stop = at + len(whole)
            ids[row, at:stop] = torch.tensor(whole)
            positions[row, at:stop] = torch.arange(len(base), len(base) + len(whole))
            group[row, at:stop] = number
            first = at + len(tail) - 1
            targets[row, first:stop] = torch.tensor(answer)
            owner[row, first:stop] = number
            source[row, first:stop] = torch.tensor(read)
            at = stop
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    mine = (group[:, :, None] == group[:, None, :]) | (group[:, None, :] == -1)
    mask = (mine & causal)[:, None]
    return AnswerBatch(ids, positions, mask, targets, owner, source, [[kind for kind, *_ in asks] for _, asks in packed])


def sources(
    tokenizer: Tokenizer, base: list[int], starts: list[int], question: questions.Question, length: int
) -> list[int]:
    """For each token of an answer the column of the list that says it, -1 where none does.

    A caption is read word by word, and its end from the line break; a time from the line's start time; a colour
    and a yes from the word for the colour.
    """
    columns = [-1] * length
    if question.line < 0:
        return columns
    line = question.line + (question.kind == "after")
    start = starts[line]
    if question.kind in ("at", "after"):
        told = base.index(tokenizer.token_to_id("]"), start) + 1
        return list(range(told, told + length))
    if question.kind == "when":
        digits = length - 4  # at, space, digits and colon, full stop, end
        columns[2 : 2 + digits] = range(start + 1, start + 1 + digits)
        return columns
    words = question.text.rstrip("?").split()
    shape = words[-1] if question.kind == "colour" else words[3]
    colour = question.answer[:-1] if question.kind == "colour" else words[2]
    pair = [tokenizer.token_to_id(f" {colour}"), tokenizer.token_to_id(f" {shape}")]
    columns[0] = next(i for i in range(start, len(base)) if base[i : i + 2] == pair)
    return columns


def pointer_loss(model: nn.Module, batch: AnswerBatch) -> Tensor:
    """How far the last layer's first head is from reading each answer token where the list says it."""
    rows, at = torch.nonzero(batch.source >= 0, as_tuple=True)
    weights = model.model.language_model.layers[-1].self_attn.kept_weights[rows, 0, at, batch.source[rows, at]]
    return -weights.float().clamp(min=1e-4).log().mean()


def loss(model: nn.Module, batch: AnswerBatch, pointer: float = 0.0) -> tuple[Tensor, dict[str, float]]:
    """Cross entropy of the answers (plus `pointer` times the pointer loss), and the share answered exactly by kind."""
    wanted = batch.targets >= 0
    embeds = model.get_input_embeddings()(batch.ids)
    bias = torch.zeros(batch.mask.shape, dtype=embeds.dtype).masked_fill_(~batch.mask, -1e9)
    hidden = model.model.language_model(
        inputs_embeds=embeds, attention_mask=bias, position_ids=batch.positions, use_cache=False
    ).last_hidden_state
    logits = model.lm_head(hidden[wanted]).float()
    total = F.cross_entropy(logits, batch.targets[wanted])
    right = torch.ones_like(batch.targets, dtype=torch.bool)
    right[wanted] = logits.argmax(-1) == batch.targets[wanted]
    hits: dict[str, list[float]] = {}
    for row, kinds in enumerate(batch.kinds):
        for number, kind in enumerate(kinds):
            hits.setdefault(kind, []).append(float(right[row][batch.owner[row] == number].all()))
    figures = {"answer": total.item(), **{kind: sum(v) / len(v) for kind, v in sorted(hits.items())}}
    if pointer > 0:
        where = pointer_loss(model, batch)
        figures["pointer"] = where.item()
        total = total + pointer * where
    return total, figures
