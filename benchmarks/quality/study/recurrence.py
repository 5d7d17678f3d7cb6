"""With and without memory: captions of clips whose truth needs the past, captions of the others, answers from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.world.asked import Asked
from rlivs.streaming.answering import caption_line

from .answers import Encoder, list_prompt, prompt_answers
from .intervals import SHARE_COLUMNS, Share, difference
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


@dataclass
class Hits:
    """Which captions are exact, one a clip: of all clips, of those whose truth needs the past, of the others."""

    every: list[list[bool]]
    past: list[list[bool]]
    rest: list[list[bool]]


def caption_hits(lab: Lab, run: Run) -> Hits:
    found = Hits([], [], [])
    for s, c in lab.footage.clips:
        truth = lab.footage.truths[s][c]
        hit = [run.captions[s][c] == truth.caption]
        found.every.append(hit)
        (found.past if truth.needs_past else found.rest).append(hit)
    return found


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


def recurrence(lab: Lab) -> list[Table]:
    """On the streams of all other tables, and on streams made for memory."""
    against = Table(
        "recurrence_differences",
        "Captions exact: ahead of no memory by, points, on the same clips",
        ("streams", "pipeline", "needs past", "95 % interval", "the others", "its 95 % interval"),
    )
    made = captions_of(lab.hiding, "recurrence_hiding", "Memory, streams made for it: captions", "hiding", against)
    return [captions_of(lab, "recurrence", "Memory: captions", "ordinary", against), made, against]


def captions_of(lab: Lab, name: str, title: str, streams: str, against: Table) -> Table:
    """Every pipeline's captions over one lab's streams; its rows of `against` are added there."""
    table = Table(name, title, COLUMNS)
    all_runs = runs(lab)
    none = caption_hits(lab, all_runs["no memory"])
    for pipeline, run in all_runs.items():
        hits = caption_hits(lab, run)
        columns = [torch.from_numpy(run.kept[s][c]) for s, c in lab.footage.clips]
        shares = [Share.of(hit for clip in part for hit in clip) for part in (hits.every, hits.past)]
        table.add(pipeline, *shares[0].cells(), *shares[1].cells(), lab.on_things(columns, lab.footage.clips))
        if pipeline != "no memory":
            against.add(streams, pipeline, *difference(hits.past, none.past), *difference(hits.rest, none.rest))
    return table


def list_answers(lab: Lab) -> list[Table]:
    """Answers from all captions so far, of the pipelines in `ASKED` and from true captions."""
    kinds = Table("list_answers", "Answers from all captions so far, by kind", ("captions", "kind", *SHARE_COLUMNS))
    told = {name: run.captions for name, run in runs(lab).items() if name in ASKED}
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
