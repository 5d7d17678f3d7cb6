"""Whether answers are exactly right, without decoding them.

Greedy decoding gives the right answer if and only if, with the right answer given, each of its tokens is the most
likely one. So one pass over many questions at once tells what the library's decoding would say; `greedy_agreement`
compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.train.clip_questions import Ask, ClipQuestionBatch, answer_logits, pack, question_tail
from rlivs.backbones import Backbone
from rlivs.decoding import decode_text, generate_greedily

from .progress import steps

BATCH_TOKENS = 12_000


class Encoder:
    """The tokenizer as the training code takes it, without special tokens added."""

    def __init__(self, backbone: Backbone) -> None:
        self._tokenizer = backbone.tokenizer.backend_tokenizer
        self.end = backbone.eos_token_ids[0]

    def encode(self, text: str, add_special_tokens: bool = False):
        return self._tokenizer.encode(text, add_special_tokens=add_special_tokens)

    def ask(self, kind: str, question: str, answer: str) -> Ask:
        return kind, self.encode(question_tail(question)).ids, self.answer(answer)

    def answer(self, text: str) -> list[int]:
        return [*self.encode(text).ids, self.end]


@torch.no_grad()
def clip_answers(
    backbone: Backbone,
    visual: Sequence[Tensor],
    asks: Sequence[list[Ask]],
    positions: Sequence[Tensor] | None = None,
) -> tuple[list[list[bool]], list[list[Tensor]]]:
    """For every clip's questions: exactly right, and the logits of the answer's first token.

    `visual`: tokens `[k, hidden]` of each clip, the same k for all; `positions`: their places in the clip, which the
    rotary positions then keep (by default they are counted through).
    """
    encoder = Encoder(backbone)
    size = max(1, BATCH_TOKENS // (len(visual[0]) + 130))
    right: list[list[bool]] = []
    first: list[list[Tensor]] = []
    for start in range(0, len(visual), size):
        part = slice(start, start + size)
        packed = list(asks[part])
        batch = ClipQuestionBatch(torch.stack(list(visual[part])), *pack(packed), [])
        # Questions that share their tokens do not see each other, so they are answered as if alone.
        spread = None if positions is None else torch.stack(list(positions[part]))
        logits = answer_logits(backbone.model, encoder, batch, spread)  # type: ignore[arg-type]
        wanted = batch.targets >= 0
        good = torch.ones_like(batch.targets, dtype=torch.bool)
        good[wanted] = logits.argmax(-1) == batch.targets[wanted]
        place = torch.full(batch.targets.shape, -1)
        place[wanted] = torch.arange(len(logits))
        for row, clip in enumerate(packed):
            right.append([bool(good[row][batch.group[row] == number].all()) for number in range(len(clip))])
            begins = [place[row][(batch.group[row] == n) & wanted[row]][0] for n in range(len(clip))]
            first.append([logits[at] for at in begins])
    return right, first


@torch.no_grad()
def prompt_answers(
    backbone: Backbone, prompts: Sequence[Tensor], answers: Sequence[list[int]], description: str
) -> tuple[list[bool], list[Tensor]]:
    """For prompts of embeddings `[length, hidden]` and their right answers: exactly right, and first tokens' logits."""
    model = backbone.model
    embed = model.get_input_embeddings()
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]) + len(answers[i]))
    right = [False] * len(prompts)
    first: list[Tensor] = [torch.empty(0)] * len(prompts)
    batches: list[list[int]] = []
    for index in order:
        longest = len(prompts[index]) + len(answers[index])
        if not batches or longest * (len(batches[-1]) + 1) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(index)
    for batch in steps(batches, description):
        rows = [torch.cat([prompts[i], embed(torch.tensor(answers[i][:-1], dtype=torch.long))]) for i in batch]
        sequence = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        # Padding stands behind, where causal attention does not look.
        hidden = model.model.language_model(inputs_embeds=sequence, use_cache=False).last_hidden_state
        for row, i in enumerate(batch):
            begin = len(prompts[i]) - 1
            logits = model.lm_head(hidden[row, begin : begin + len(answers[i])]).float()
            right[i] = bool((logits.argmax(-1) == torch.tensor(answers[i])).all())
            first[i] = logits[0]
    return right, first


def list_prompt(backbone: Backbone, template: str, lines: Sequence[str], question: str) -> Tensor:
    """The library's answer prompt for caption lines, `[length, hidden]`."""
    text = template.format(captions="\n".join(lines), question=question)
    return backbone.text_prompt(text).inputs_embeds[0]


@torch.no_grad()
def greedy_text(backbone: Backbone, prompt) -> str:
    """What the library says to a prompt."""
    return decode_text(backbone.tokenizer, generate_greedily(backbone, prompt, 48)[0].tolist())


def chance(answers: Sequence[str]) -> float:
    """How often a random one of these answers equals another's: chance for shuffled answers."""
    _, counts = np.unique(answers, return_counts=True)
    return float(((counts / len(answers)) ** 2).sum())
