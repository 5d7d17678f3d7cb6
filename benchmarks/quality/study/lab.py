"""What the experiments share: a model, the reported footage, its questions, and the run of the pipeline as shipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.world.asked import Asked, ask_stream
from rlivs.backbones import Backbone
from rlivs.config import PipelineConfig
from rlivs.memory.embedders import LanguageModelEmbedder
from rlivs.memory.store import Caption
from rlivs.scoring.layers import choose_layers, decoder_attentions, text_decoder
from rlivs.streaming.answering import caption_line

from .answers import Encoder, clip_answers
from .footage import Footage, digest, film
from .intervals import Share
from .plan import HIDING, Plan
from .recurrent import Policy, Run, caption_streams
from .selection import kept_tokens

RETRIEVED = ("when", "after", "before", "did", "order")  # kinds that name a thing, so that captions can be retrieved


@dataclass
class Lab:
    """A loaded model (eager attention), the plan, and the streams that are reported on."""

    backbone: Backbone
    plan: Plan
    footage: Footage
    cache: Path

    @cached_property
    def run(self) -> Run:
        """The pipeline as shipped: 16 slots, 6 % of the tokens by attention, the automatic layers."""
        return self.run_of(Policy(), detail=True)

    @cached_property
    def hiding(self) -> Lab:
        """The same model on streams made for memory: a thing hides in every shot that is long enough."""
        plan = self.plan
        footage = film(
            self.backbone, HIDING, plan.hiding_streams, plan.clips, plan.side, plan.rate, self.cache, hiding=True
        )
        return Lab(self.backbone, plan, footage, self.cache)

    def run_of(self, policy: Policy, detail: bool = False) -> Run:
        """A run of the pipeline over all streams, made once and kept in the cache."""
        seed, streams, clips = self.footage.streams[0].seed[0], *self.footage.tokens.shape[:2]
        name = "-".join(map(str, (seed, streams, clips, digest(self.backbone.model), *astuple(policy)))).replace(
            " ", ""
        )
        file = self.cache / f"run-{name}.pt"
        if not file.exists():
            torch.save(vars(caption_streams(self.backbone, self.footage, policy, detail)), file)
        return Run(**torch.load(file, weights_only=False))

    @property
    def clips(self) -> list[tuple[int, int]]:
        """The clips whose tokens are asked about, by stream and number."""
        return self.footage.clips[:: self.plan.every]

    @cached_property
    def asked(self) -> list[list[Asked]]:
        """Questions about each clip of `clips`, alone."""
        return self.footage.clip_questions()[:: self.plan.every]

    @cached_property
    def asks(self):
        encoder = Encoder(self.backbone)
        return [[encoder.ask(q.kind, q.text, q.answer) for q in clip] for clip in self.asked]

    @cached_property
    def listed(self) -> list[tuple[int, Asked]]:
        """Questions of every kind about each stream's past, with the stream's number."""
        return self._listed(self.plan.each)

    @cached_property
    def retrieved(self) -> list[tuple[int, Asked]]:
        """More questions, of the kinds that retrieval can serve."""
        return [(s, q) for s, q in self._listed(self.plan.each_retrieval, seed=2) if q.kind in RETRIEVED]

    @cached_property
    def timed(self) -> list[tuple[int, Asked]]:
        """As many that name a moment: "What happened at 0:40?"."""
        return [(s, q) for s, q in self._listed(self.plan.each_retrieval, seed=2) if q.kind == "at"]

    def _listed(self, each: int, seed: int = 1) -> list[tuple[int, Asked]]:
        streams = zip(self.footage.streams, self.footage.truths, strict=True)
        return [(s, q) for s, pair in enumerate(streams) for q in ask_stream(*pair, seed, each)]

    @cached_property
    def embedder(self) -> LanguageModelEmbedder:
        return LanguageModelEmbedder(self.backbone.model, self.backbone.tokenizer)

    @cached_property
    def config(self) -> PipelineConfig:
        return PipelineConfig(fps=2.0)

    @cached_property
    def auto_layers(self) -> tuple[int, ...]:
        return choose_layers("auto", decoder_attentions(text_decoder(self.backbone.model)))

    @property
    def depth(self) -> int:
        return len(decoder_attentions(text_decoder(self.backbone.model)))

    def scores(
        self, layers: Sequence[int] | None = None, *, heads: str = "mean", convention: int = 0, shift: int = 0
    ) -> np.ndarray:
        """Scores `[streams, clips, 256]` from the shipped run's attention; `shift` 1 reads one column too early."""
        assert self.run.detail is not None
        rows = self.run.detail[:, :, convention][:, :, list(layers if layers is not None else self.auto_layers)]
        reduced = rows.max(axis=3) if heads == "max" else rows.mean(axis=3)
        mean = reduced.mean(axis=2)
        return mean[..., :-1] if shift else mean[..., 1:]

    def keep(self, method: str, count: int, scores: np.ndarray) -> tuple[list[Tensor], list[Tensor | None]]:
        """The kept tokens of each of `clips`, and their columns."""
        found = [
            kept_tokens(
                method,
                count,
                self.footage.tokens[s, c],
                scores[s, c],
                self.footage.cover[s, c],
                (*self.footage.streams[s].seed, c, 9),
            )
            for s, c in self.clips
        ]
        return [tokens for tokens, _ in found], [columns for _, columns in found]

    def on_things(self, columns: Sequence[Tensor | None], clips: Sequence[tuple[int, int]] | None = None) -> float:
        """Percent of kept tokens whose cell shows a thing; nan for made tokens."""
        if any(kept is None for kept in columns):
            return float("nan")
        marks = [self.footage.on_thing[s, c][kept] for (s, c), kept in zip(clips or self.clips, columns, strict=True)]
        return 100 * float(np.mean(np.concatenate(marks)))

    def hits(self, visual: Sequence[Tensor], positions: Sequence[Tensor] | None = None) -> list[list[bool]]:
        """Which of the clips' questions are answered exactly from these tokens, clip by clip."""
        return clip_answers(self.backbone, visual, self.asks, positions)[0]

    def by_kind(self, hits: Sequence[Sequence[bool]]) -> dict[str, Share]:
        """The clips' questions answered exactly, by kind; clips without hits are left out."""
        found: dict[str, list[bool]] = {}
        for questions, right in zip(self.asked, hits, strict=True):
            for question, hit in zip(questions if right else (), right, strict=True):
                found.setdefault(question.kind, []).append(hit)
        return {kind: Share.of(values) for kind, values in sorted(found.items())}

    def ask_clips(self, visual: Sequence[Tensor], positions: Sequence[Tensor] | None = None) -> Share:
        """Share of the clips' questions answered exactly from these tokens."""
        return Share.of(hit for clip in self.hits(visual, positions) for hit in clip)

    def captions(self, texts: Sequence[str], stream: int) -> list[Caption]:
        """A stream's captions as its memory holds them."""
        found = []
        for index, text in enumerate(texts):
            start, end = index * 8.0, index * 8.0 + 8.0
            line = caption_line(start, end, text)
            cost = len(self.backbone.tokenizer(line + "\n", add_special_tokens=False).input_ids)
            found.append(Caption(str(stream), index, start, end, text, cost, ()))
        return found
