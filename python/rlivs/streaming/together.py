"""Clips of several streams captioned at once, each with its own memory before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from rlivs.backbones import Backbone
from rlivs.config import PipelineConfig
from rlivs.decoding import RepetitionGuard, begin_side_by_side, generate_side_by_side
from rlivs.scoring import Handle
from rlivs.streaming.captioning import CaptionedClip, ReadyClip, captioned


def caption_clips(
    backbone: Backbone,
    tap: Handle,
    ready: Sequence[ReadyClip],
    config: PipelineConfig,
    between_steps: Callable[[], None] | None = None,
) -> list[CaptionedClip]:
    """`caption_ready` of several clips in one batch: captions and scores are those of each by itself, within rounding.

    Each prompt runs alone; the steps that make the captions are taken together.
    """
    prompts = [each.prompt for each in ready]
    limits = [each.limit for each in ready]
    steps = begin_side_by_side(backbone.model, prompts, max(limits))
    # Columns of one width: a narrower clip's reach to its left, and the scores of what lies there are left out again.
    widths = [prompt.columns.stop - prompt.columns.start for prompt in prompts]
    stops = [start + prompt.columns.stop for start, prompt in zip(steps.starts, prompts, strict=True)]
    columns = [slice(stop - max(widths), stop) for stop in stops]

    def after_step() -> None:
        if between_steps is not None:
            with tap.paused():
                between_steps()

    with tap.clip(
        columns=columns,
        include_last_prompt_row=config.include_last_prompt_row,
        prompt_length=steps.padded_length,
        key_starts=steps.starts,
    ):
        with tap.paused():
            steps.prefill(between_steps)
        guards = [RepetitionGuard() for _ in ready] if config.cut_repetition else None
        texts = generate_side_by_side(backbone, steps, limits, after_step, guards)
        lengths = [len(text) for text in texts]
        ids = torch.tensor([text + [0] * (max(lengths) - len(text)) for text in texts])
        scores = tap.scores(ids.to(steps.token.device), lengths)
    found = []
    for row, (each, width) in enumerate(zip(ready, widths, strict=True)):
        own = each.prompt.visual_scores(scores[row : row + 1, max(widths) - width :])
        looped = guards is not None and guards[row].looped
        found.append(captioned(backbone, each, texts[row], looped, own, config))
    return found
