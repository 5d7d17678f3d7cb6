"""Question batches: one list of captions, several questions that share it but do not see each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from benchmarks.quality.world import prompts, questions, scenes
from benchmarks.quality.world.grammar import COLOURS, SHAPES

from . import reading


@dataclass
class AnswerBatch:
    ids: Tensor  # [B, length]
    positions: Tensor  # [B, length]: every question starts where the list ends
    mask: Tensor  # [B, 1, length, length] bool: the list, and one's own question so far
    targets: Tensor  # [B, length] the next token where it belongs to an answer, else -100
    owner: Tensor  # [B, length] number of the question a target belongs to, -1 elsewhere
    aids: reading.Aids
    kinds: list[list[str]]


def draw(
    tokenizer: Tokenizer,
    rng: np.random.Generator,
    rows: int,
    *,
    lines: tuple[int, int] = (1, 30),
    asked: int = 8,
    kinds: Sequence[str] = questions.KINDS,
    world: ModuleType = questions,
) -> AnswerBatch:
    """`rows` lists of about equal length, `asked` questions to each; `world` has the lists and the questions."""
    end = tokenizer.token_to_id("<|im_end|>")
    packed = []
    count = int(rng.integers(lines[0], lines[1] + 1))
    for _ in range(rows):
        listed = world.sample_lines(rng, count, scenes.sample_things)
        base = tokenizer.encode(prompts.ANSWER_HEAD, add_special_tokens=False).ids
        starts = []
        for line in listed:
            starts.append(len(base))
            text = prompts.caption_line(line.start, line.end, line.text)
            base = base + tokenizer.encode(text, add_special_tokens=False).ids
        starts.append(len(base))
        asks = []
        for number in range(asked):
            kind = kinds[(number + int(rng.integers(len(kinds)))) % len(kinds)]
            question = world.sample_question(rng, listed, kind) or questions.ask_at(
                listed, int(rng.integers(len(listed)))
            )
            tail = tokenizer.encode(prompts.answer_tail(question.text), add_special_tokens=False).ids
            answer = [*tokenizer.encode(question.answer, add_special_tokens=False).ids, end]
            asks.append((question, tail, answer))
        packed.append((base, starts, listed, asks))
    length = max(len(base) + sum(len(t) + len(a) - 1 for _, t, a in asks) for base, _, _, asks in packed)
    ids = torch.zeros(rows, length, dtype=torch.long)
    positions = torch.zeros(rows, length, dtype=torch.long)
    targets = torch.full((rows, length), -100)
    owner = torch.full((rows, length), -1)
    aids = reading.empty(rows, length)
    group = torch.full((rows, length), -2)  # -1: the list, 0..: a question, -2: padding
    for row, (base, starts, listed, asks) in enumerate(packed):
        at = len(base)
        _list_aids(aids, row, tokenizer, base, starts, listed)
        ids[row, :at] = torch.tensor(base)
        positions[row, :at] = torch.arange(at)
        group[row, :at] = -1
        for number, (question, tail, answer) in enumerate(asks):
            whole = tail + answer[:-1]
            stop = at + len(whole)
            ids[row, at:stop] = torch.tensor(whole)
            positions[row, at:stop] = torch.arange(len(base), len(base) + len(whole))
            group[row, at:stop] = number
            first = at + len(tail) - 1
            targets[row, first:stop] = torch.tensor(answer)
            owner[row, first:stop] = number
            _answer_aids(aids, row, slice(first, stop), tokenizer, base, starts, listed, question)
            at = stop
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    mine = (group[:, :, None] == group[:, None, :]) | (group[:, None, :] == -1)
    mask = (mine & causal)[:, None]
    return AnswerBatch(
        ids, positions, mask, targets, owner, aids, [[question.kind for question, _, _ in asks] for *_, asks in packed]
    )


def _list_aids(
    aids: reading.Aids,
    row: int,
    tokenizer: Tokenizer,
    base: list[int],
    starts: list[int],
    listed: list[questions.Line],
) -> None:
    """What the list's own tokens should know."""
    aids.before[row, starts[0] : len(base)] = torch.tensor(base[starts[0] - 1 : -1])
    close = tokenizer.token_to_id("]")
    for line, start, stop in zip(listed, starts, starts[1:], strict=False):
        told = base.index(close, start) + 1
        span = reading.digits_of(line.start) + reading.digits_of(line.end)
        aids.span[row, told:stop] = torch.tensor(span)


def _answer_aids(
    aids: reading.Aids,
    row: int,
    span: slice,
    tokenizer: Tokenizer,
    base: list[int],
    starts: list[int],
    listed: list[questions.Line],
    question: questions.Question,
) -> None:
    """What an answer's rows should know: what is asked, which line tells, and which word of it comes next.

    A caption is read word by word, and its end from the line break; a time from the line's start time; a colour
    and a yes from the word for the colour.
    """
    thing = question.thing
    if thing is None and question.line >= 0:
        asked = reading.digits_of(listed[question.line].start)
        aids.asked_time[row, span] = torch.tensor(asked)
    elif thing is not None:
        colour = reading.IGNORED if question.kind == "colour" else COLOURS.index(thing[0])
        aids.asked_thing[row, span] = torch.tensor([colour, SHAPES.index(thing[1])])
    if question.line < 0:
        return
    line = question.line + (question.kind == "after") - (question.kind == "before")
    aids.line_time[row, span] = torch.tensor(reading.digits_of(listed[line].start))
    told_of = thing or question.about
    if told_of is not None:
        pair = [tokenizer.token_to_id(f" {word}") for word in told_of]
        start = starts[question.line]
        colour_at = next(i for i in range(start, len(base)) if base[i : i + 2] == pair)
        aids.match[row, span] = colour_at + 1
    length = span.stop - span.start
    if question.kind in ("at", "after", "before"):
        told = base.index(tokenizer.token_to_id("]"), starts[line]) + 1
        aids.source[row, span] = torch.arange(told, told + length)
    elif question.kind == "when":
        digits = length - 4  # beside them: at, space, full stop, end
        first = span.start + 2
        aids.source[row, first : first + digits] = torch.arange(digits) + starts[line] + 1
    elif question.kind == "motion":  # moved, then the word behind the line's `moves`
        aids.source[row, span.start + 1] = colour_at + 3
    elif told_of is not None:
        aids.source[row, span.start] = colour_at + (question.kind == "shape")


def loss(
    model: nn.Module, batch: AnswerBatch, probes: reading.Probes, aid: float = 0.0
) -> tuple[Tensor, dict[str, float]]:
    """Cross entropy of the answers (plus `aid` times the aids' losses), and the share answered exactly by kind."""
    wanted = batch.targets >= 0
    embeds = model.get_input_embeddings()(batch.ids)
    bias = torch.zeros(batch.mask.shape, dtype=embeds.dtype).masked_fill_(~batch.mask, -1e9)
    inner = model.model.language_model
    out = inner(
        inputs_embeds=embeds,
        attention_mask=bias,
        position_ids=batch.positions,
        use_cache=False,
        output_hidden_states=aid > 0,
    )
    logits = model.lm_head(out.last_hidden_state[wanted]).float()
    total = F.cross_entropy(logits, batch.targets[wanted])
    right = torch.ones_like(batch.targets, dtype=torch.bool)
    right[wanted] = logits.argmax(-1) == batch.targets[wanted]
    hits: dict[str, list[float]] = {}
    for row, kinds in enumerate(batch.kinds):
        for number, kind in enumerate(kinds):
            hits.setdefault(kind, []).append(float(right[row][batch.owner[row] == number].all()))
    figures = {"answer": total.item(), **{kind: sum(v) / len(v) for kind, v in sorted(hits.items())}}
    if aid > 0:
        for name, value in reading.loss(probes, out.hidden_states, inner.layers, batch.aids).items():
            figures[name] = value.item()
            total = total + aid * value
    return total, figures
