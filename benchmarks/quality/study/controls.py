"""The harness cannot flatter: untrained weights and shuffled answers are at chance, its answers the library's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.train.model import Shape, build
from benchmarks.quality.world.asked import Asked
from rlivs.backbones.protocol import VisualTokens

from .answers import Encoder, clip_answers, greedy_text
from .intervals import SHARE_COLUMNS, Share
from .lab import Lab
from .recurrent import Policy
from .tables import Table

CHOICES = {
    "colour": ("red.", "orange.", "yellow.", "green.", "blue.", "purple."),
    "shape": ("circle.", "square.", "triangle.", "star."),
    "count": ("1.", "2.", "3."),
    "seen": ("yes.", "no."),
}


def picked(lab: Lab, first: Sequence[list[Tensor]]) -> list[tuple[Asked, str]]:
    """Each question of a kind with few answers, and the one of these whose first token is the most likely."""
    encoder = Encoder(lab.backbone)
    begins = {kind: [encoder.encode(text).ids[0] for text in texts] for kind, texts in CHOICES.items()}
    found = []
    for questions, logits in zip(lab.asked, first, strict=True):
        for question, row in zip(questions, logits, strict=True):
            if question.kind in CHOICES:
                best = int(row[begins[question.kind]].argmax())
                found.append((question, CHOICES[question.kind][best]))
    return found


def controls(lab: Lab, seed: int = 7) -> list[Table]:
    """Answers are chosen among a kind's possible ones, so that chance is known.

    Chance is the share of right answers if the given answers had nothing to do with the questions: for each kind the
    sum, over its answers, of how often each is given times how often it is right.
    """
    table = Table(
        "controls", "Controls: answers chosen among a kind's possible ones", ("answers", *SHARE_COLUMNS, "chance %")
    )
    visual = [lab.footage.tokens[s, c] for s, c in lab.clips]
    trained = picked(lab, clip_answers(lab.backbone, visual, lab.asks)[1])
    weights = {name: value.clone() for name, value in lab.backbone.model.state_dict().items()}
    fresh = build(Shape(), seed)
    try:
        lab.backbone.model.load_state_dict(fresh.state_dict())
        untrained = picked(lab, clip_answers(lab.backbone, visual, lab.asks)[1])
    finally:
        lab.backbone.model.load_state_dict(weights)
    for name, given in (("trained", trained), ("untrained weights", untrained), ("trained, answers shuffled", None)):
        pairs = given if given is not None else shuffled(trained, seed)
        share = Share.of(question.answer == answer for question, answer in pairs)
        table.add(name, *share.cells(), 100 * expected(pairs))
    return [table, agreement(lab)]


def shuffled(pairs: Sequence[tuple[Asked, str]], seed: int) -> list[tuple[Asked, str]]:
    """The same questions with the answers that others of their kind were given."""
    rng = np.random.default_rng(seed)
    found = []
    for kind in CHOICES:
        mine = [pair for pair in pairs if pair[0].kind == kind]
        order = rng.permutation(len(mine))
        found += [(question, mine[order[i]][1]) for i, (question, _) in enumerate(mine)]
    return found


def expected(pairs: Sequence[tuple[Asked, str]]) -> float:
    """Chance for these answers, see `controls`."""
    total = 0.0
    for kind, texts in CHOICES.items():
        mine = [pair for pair in pairs if pair[0].kind == kind]
        for text in texts if mine else ():
            given = np.mean([answer == text for _, answer in mine])
            right = np.mean([question.answer == text for question, _ in mine])
            total += float(given * right) * len(mine)
    return total / len(pairs)


@torch.no_grad()
def agreement(lab: Lab) -> Table:
    """The harness's shortcuts against the library's own code, one by one."""
    from rlivs import StreamingVideoQA
    from rlivs.memory.store import CaptionStore
    from rlivs.video import VideoClip

    table = Table("agreement", "The study's shortcuts against the library's own code", ("compared", "the same", "of"))
    visual, _ = lab.keep("attention", lab.plan.six_percent, lab.scores())
    right, _ = clip_answers(lab.backbone, visual, lab.asks)
    same, asked = 0, 0
    for clip in range(0, len(visual), max(1, len(visual) // lab.plan.check)):
        for question, hit in zip(lab.asked[clip], right[clip], strict=True):
            prompt = lab.backbone.caption_prompt(VisualTokens(visual[clip], lab.backbone.grid), (), question.text)
            same += (greedy_text(lab.backbone, prompt) == question.answer) == hit
            asked += 1
    table.add("right or wrong by greedy decoding", same, asked)

    class Encoded:
        """The backbone with clips that are encoded already."""

        def __init__(self, inner) -> None:
            self.inner = inner

        def __getattr__(self, name: str):
            return getattr(self.inner, name)

        def encode(self, frames, times=None) -> VisualTokens:
            return VisualTokens(lab.footage.tokens[0, int(frames[0, 0, 0, 0])], self.inner.grid)

    policy = Policy()
    config = lab.config.model_copy(update={"max_caption_tokens": 40, "keep_tokens": policy.keep})
    count = min(lab.footage.tokens.shape[1], 24)
    with StreamingVideoQA(Encoded(lab.backbone), CaptionStore.open(":memory:"), config) as engine:  # type: ignore[arg-type]
        session = engine.open("checked")
        told = []
        for index in range(count):
            frames = np.full((16, 2, 2, 3), index, np.uint8)
            times = tuple(index * 8.0 + 0.5 * i for i in range(16))
            told.append(session.process(VideoClip(index, frames, times, index * 8.0, index * 8.0 + 8)))
    table.add(
        "captions of the first stream by Session", sum(a.caption == lab.run.captions[0][a.index] for a in told), count
    )
    kept = sum(len(set(a.selected) & set(lab.run.kept[0][a.index].tolist())) for a in told)
    table.add("its kept tokens", kept, count * policy.keep)
    return table
