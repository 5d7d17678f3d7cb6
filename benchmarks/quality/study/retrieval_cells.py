"""Which captions an answer is made from: MMR, plain relevance, the newest, random ones, all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlivs.memory.retrieval import select_captions
from rlivs.memory.store import Caption
from rlivs.streaming.answering import caption_line

from .answers import Encoder, list_prompt, prompt_answers
from .intervals import SHARE_COLUMNS, Share
from .lab import Lab
from .tables import Table


def fill(captions: Sequence[Caption], order: Sequence[int], budget: int) -> list[Caption]:
    """Captions taken in this order as long as they fit, in order of time."""
    left, chosen = budget, []
    for index in order:
        if captions[index].num_tokens <= left:
            chosen.append(index)
            left -= captions[index].num_tokens
    return [captions[index] for index in sorted(chosen)]


def retrieval(lab: Lab) -> list[Table]:
    """Over the shipped run's captions; a question has its evidence if every clip of it is among the captions."""
    table = Table(
        "retrieval",
        "Retrieval: answers and evidence by budget",
        ("budget", "captions", "way", *SHARE_COLUMNS, "evidence found %"),
    )
    stores = [lab.captions(texts, s) for s, texts in enumerate(lab.run.captions)]
    vectors = [lab.embedder.embed([caption.text for caption in store]) for store in stores]
    queries = lab.embedder.embed([question.text for _, question in lab.retrieved])
    ways = [*(f"MMR, lambda {value}" for value in lab.plan.lambdas), "most recent", "random"]
    for budget in lab.plan.budgets:
        for way in ways:
            _row(lab, table, budget, way, stores, vectors, queries)
    _row(lab, table, 10_000, "all", stores, vectors, queries)
    return [table]


def _row(lab: Lab, table: Table, budget: int, way: str, stores, vectors, queries) -> None:
    encoder = Encoder(lab.backbone)
    prompts, answers, found, counts = [], [], [], []
    for number, (stream, question) in enumerate(lab.retrieved):
        ended = round(question.at / 8)
        captions = stores[stream][:ended]
        if way == "most recent":
            chosen = fill(captions, range(ended - 1, -1, -1), budget)
        elif way == "random":
            chosen = fill(captions, np.random.default_rng((stream, number, 3)).permutation(ended).tolist(), budget)
        else:
            value = float(way.rsplit(" ", 1)[1]) if way.startswith("MMR") else 1.0
            chosen = select_captions(
                captions, vectors[stream][:ended], queries[number], budget_tokens=budget, lambda_=value
            )
        lines = [caption_line(c.start, c.end, c.text) for c in chosen]
        prompts.append(list_prompt(lab.backbone, lab.config.answer_prompt, lines, question.text))
        answers.append(encoder.answer(question.answer))
        counts.append(len(chosen))
        if question.kind in ("when", "after", "before"):
            low, high = question.evidence
            wanted = {round(low / 8), round(high / 8) - 1}
            found.append(wanted <= {caption.index for caption in chosen})
    hits, _ = prompt_answers(lab.backbone, prompts, answers, f"retrieval, {budget}, {way}")
    shown = "all" if way == "all" else str(budget)
    label = f"{way} (plain cosine)" if way == "MMR, lambda 1.0" else way
    table.add(shown, float(np.mean(counts)), label, *Share.of(hits).cells(), 100 * float(np.mean(found)))
