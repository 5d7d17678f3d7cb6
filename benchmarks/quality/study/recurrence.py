"""With and without memory: captions of clips whose truth needs the past, captions of the others, answers from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.world.asked import Asked
from rlivs.streaming.answering import caption_line

from .answers import Encoder, list_prompt, prompt_answers
from .intervals import SHARE_COLUMNS, Share
from .lab import Lab
from .recurrent import Policy, Run
from .tables import Table

WAYS = (
    ("attention, 16 slots", Policy()),
    ("attention, 4 slots", Policy(slots=4)),
    ("attention, 1 slot", Policy(slots=1)),
    ("no memory", Policy(slots=0)),
    ("uniform, 16 slots", Policy(select="uniform")),
    ("shifted columns, 16 slots", Policy(select="shifted")),
    ("oracle mask, 16 slots", Policy(select="oracle")),
    ("attention, 4 slots, semantic eviction", Policy(slots=4, evict="semantic")),
)
ASKED = ("attention, 16 slots", "no memory", "uniform, 16 slots", "shifted columns, 16 slots")
COLUMNS = (
    "pipeline",
    "captions exact %",
    "95 % interval",
    "clips",
    "needs past %",
    "its 95 % interval",
    "such clips",
    "kept on things %",
)


def runs(lab: Lab) -> dict[str, Run]:
    """Every pipeline's run over the reported streams; the first is the lab's own."""
    wanted = [(name, policy) for name, policy in WAYS if policy.slots in lab.plan.slots]
    return {name: lab.run if policy == Policy() else lab.run_of(policy) for name, policy in wanted}


def caption_shares(lab: Lab, run: Run) -> tuple[Share, Share]:
    """Captions that are exact: of all clips, and of those whose truth needs the past."""
    every, past = [], []
    for s, c in lab.footage.clips:
        truth = lab.footage.truths[s][c]
        hit = run.captions[s][c] == truth.caption
        every.append(hit)
        if truth.needs_past:
            past.append(hit)
    return Share.of(every), Share.of(past)


def list_questions(
    lab: Lab, captions: Sequence[Sequence[str]], questions: Sequence[tuple[int, Asked]], description: str
) -> list[bool]:
    """Which questions are answered exactly from all captions that had ended by then."""
    encoder = Encoder(lab.backbone)
    prompts: list[Tensor] = []
    for stream, question in questions:
        ended = round(question.at / 8)
        lines = [caption_line(8.0 * i, 8.0 * i + 8, captions[stream][i]) for i in range(ended)]
        prompts.append(list_prompt(lab.backbone, lab.config.answer_prompt, lines, question.text))
    answers = [encoder.answer(question.answer) for _, question in questions]
    return prompt_answers(lab.backbone, prompts, answers, description)[0]


def recurrence(lab: Lab, all_runs: dict[str, Run]) -> list[Table]:
    table = Table("recurrence", "Memory: captions", COLUMNS)
    for name, run in all_runs.items():
        every, past = caption_shares(lab, run)
        columns = [torch.from_numpy(run.kept[s][c]) for s, c in lab.footage.clips]
        table.add(name, *every.cells(), *past.cells(), lab.on_things(columns, lab.footage.clips))
    return [table]


def list_answers(lab: Lab, all_runs: dict[str, Run]) -> list[Table]:
    """Answers from all captions so far, of the pipelines in `ASKED` and from true captions."""
    kinds = Table("list_answers", "Answers from all captions so far, by kind", ("captions", "kind", *SHARE_COLUMNS))
    told = {name: run.captions for name, run in all_runs.items() if name in ASKED}
    told["true captions"] = [[truth.caption for truth in stream] for stream in lab.footage.truths]
    for name, captions in told.items():
        hits = list_questions(lab, captions, lab.listed, f"answers, {name}")
        kinds.add(name, "all", *Share.of(hits).cells())
        _by_kind(kinds, name, lab, hits)
    return [kinds]


def _by_kind(table: Table, name: str, lab: Lab, hits: list[bool]) -> None:
    kinds = np.array([question.kind for _, question in lab.listed])
    for kind in sorted(set(kinds)):
        table.add(name, kind, *Share.of(np.array(hits)[kinds == kind]).cells())
