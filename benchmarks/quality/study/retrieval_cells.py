"""Which captions an answer is made from: MMR, plain relevance, the newest, random ones, all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.quality.world.asked import Asked
from rlivs.memory.named_times import spans_in
from rlivs.memory.retrieval import captions_around, select_captions
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
    ways = [*(f"MMR, lambda {value}" for value in lab.plan.lambdas), "most recent", "random"]
    timed_ways = ["MMR, lambda 0.5", "the time's captions first"]
    return [
        _table("retrieval", "Retrieval: answers and evidence by budget", Library(lab, lab.retrieved), ways),
        _table("retrieval_times", "Retrieval: questions that name a time", Library(lab, lab.timed), timed_ways),
    ]


class Library:
    """Questions, and the captions that they may be answered from."""

    def __init__(self, lab: Lab, asked: Sequence[tuple[int, Asked]]) -> None:
        self.lab, self.asked = lab, asked
        self.stores = [lab.captions(texts, s) for s, texts in enumerate(lab.run.captions)]
        self.vectors = [lab.embedder.embed([caption.text for caption in store]) for store in self.stores]
        self.queries = lab.embedder.embed([question.text for _, question in asked])

    def choose(self, number: int, budget: int, way: str) -> list[Caption]:
        stream, question = self.asked[number]
        ended = round(question.at / 8)
        captions = self.stores[stream][:ended]
        if way == "most recent":
            return fill(captions, range(ended - 1, -1, -1), budget)
        if way == "random":
            return fill(captions, np.random.default_rng((stream, number, 3)).permutation(ended).tolist(), budget)
        return select_captions(
            captions,
            self.vectors[stream][:ended],
            self.queries[number],
            budget_tokens=budget,
            lambda_=float(way.rsplit(" ", 1)[1]) if way.startswith("MMR") else 0.5,
            first=captions_around(captions, spans_in(question.text, question.at)) if "first" in way else (),
        )


def _table(name: str, title: str, library: Library, ways: Sequence[str]) -> Table:
    table = Table(name, title, ("budget", "captions", "way", *SHARE_COLUMNS, "evidence found %"))
    for budget in library.lab.plan.budgets:
        for way in ways:
            _row(library, table, budget, way)
    _row(library, table, 10_000, "all")
    return table


def _row(library: Library, table: Table, budget: int, way: str) -> None:
    lab = library.lab
    encoder = Encoder(lab.backbone)
    prompts, answers, found, counts = [], [], [], []
    for number, (_, question) in enumerate(library.asked):
        chosen = library.choose(number, budget, way)
        lines = [caption_line(c.start, c.end, c.text) for c in chosen]
        prompts.append(list_prompt(lab.backbone, lab.config.answer_prompt, lines, question.text))
        answers.append(encoder.answer(question.answer))
        counts.append(len(chosen))
        if question.kind in ("when", "after", "before", "at"):
            low, high = question.evidence
            wanted = {round(low / 8), round(high / 8) - 1}
            found.append(wanted <= {caption.index for caption in chosen})
    hits, _ = prompt_answers(lab.backbone, prompts, answers, f"retrieval, {budget}, {way}")
    shown = "all" if way == "all" else str(budget)
    label = f"{way} (plain cosine)" if way == "MMR, lambda 1.0" else way
    table.add(shown, float(np.mean(counts)), label, *Share.of(hits).cells(), 100 * float(np.mean(found)))
