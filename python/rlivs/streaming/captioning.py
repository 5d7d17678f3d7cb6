"""One clip in, one caption and its kept tokens out (arXiv 2510.17364, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

import rlivs_kernels as rk
from rlivs.backbones import Backbone, Prompt, VisualTokens
from rlivs.config import PipelineConfig
from rlivs.decoding import RepetitionGuard, decode_text, generate_greedily
from rlivs.errors import InputError
from rlivs.memory.visual import SelectedTokens
from rlivs.scoring import Handle
from rlivs.video.clips import VideoClip

# Behind a caption that was ended because it looped: the mark goes wherever the text goes.
CUT = " …"


@dataclass(frozen=True)
class CaptionedClip:
    """What one clip left behind.

    Times in seconds; `selected` are the kept columns, ascending; `scores` `[n]` float32 is the mean attention of the
    caption's rows on each visual token; `grid` is (rows, columns) of visual tokens in a step, so column c lies in
    step c // (rows * columns); a step is a frame, or several where the family merges frames. `tokens` is what goes to
    the visual memory.
    """

    index: int
    start: float
    end: float
    caption: str
    num_caption_tokens: int
    selected: tuple[int, ...]
    scores: np.ndarray
    grid: tuple[int, int]
    tokens: SelectedTokens

    @property
    def steps(self) -> int:
        """How many grids of tokens the clip has."""
        return len(self.scores) // (self.grid[0] * self.grid[1])


@dataclass(frozen=True)
class ReadyClip:
    """A clip, encoded, and the prompt that asks for its caption of at most `limit` tokens."""

    clip: VideoClip
    visual: VisualTokens
    prompt: Prompt
    limit: int


def ready_clip(
    backbone: Backbone,
    clip: VideoClip,
    memory: Sequence[SelectedTokens],
    config: PipelineConfig,
    visual: VisualTokens | None = None,
) -> ReadyClip:
    """Encode `clip`, if that was not done before (`visual`), and ask for its caption with `memory` before it.

    Raises InputError if the prompt does not fit the model.
    """
    if visual is None:
        visual = backbone.encode(clip.frames, clip.times)
    prompt = backbone.caption_prompt(visual, memory, config.caption_prompt)
    room = backbone.max_positions - prompt.length
    if room < 1:
        raise InputError(
            f"a clip's prompt takes {prompt.length} tokens but the model holds {backbone.max_positions}; "
            "lower frames_per_clip, memory_slots or keep_tokens"
        )
    return ReadyClip(clip, visual, prompt, min(config.max_caption_tokens, room))


def caption_ready(
    backbone: Backbone,
    tap: Handle,
    ready: ReadyClip,
    config: PipelineConfig,
    on_token: Callable[[int], None] | None = None,
    between_steps: Callable[[], None] | None = None,
) -> CaptionedClip:
    """Caption a clip, and select the visual tokens the caption attended to most.

    The score of column j is `1/L sum_l 1/H sum_h 1/N sum_i A[l,h,i,j]` over the rows i that produced the caption; the
    softmax runs over all keys, and only the clip's own columns are scored. `between_steps` is called between two steps
    of the model, which it may use for something else meanwhile.
    """
    prompt = ready.prompt
    with tap.clip(
        columns=prompt.columns,
        include_last_prompt_row=config.include_last_prompt_row,
        prompt_length=prompt.length,
    ):

        def after_token(token: int) -> None:
            if on_token is not None:
                on_token(token)
            if between_steps is not None:
                with tap.paused():
                    between_steps()

        guard = RepetitionGuard() if config.cut_repetition else None
        ids = generate_greedily(backbone, prompt, ready.limit, after_token, guard=guard)
        scores = prompt.visual_scores(tap.scores(ids))
    looped = guard is not None and guard.looped
    return captioned(backbone, ready, ids[0].tolist(), looped, scores, config)


def captioned(
    backbone: Backbone,
    ready: ReadyClip,
    new_ids: list[int],
    looped: bool,
    scores: torch.Tensor,
    config: PipelineConfig,
) -> CaptionedClip:
    """What a clip with these caption tokens and `scores` `[1, n]` leaves behind."""
    clip, visual = ready.clip, ready.visual
    scores = scores.to(visual.embeddings.device)
    indices = rk.select_top_tokens(scores, config.tokens_to_keep(visual.count))[0]
    return CaptionedClip(
        index=clip.index,
        start=clip.start,
        end=clip.end,
        caption=decode_text(backbone.tokenizer, new_ids) + (CUT if looped else ""),
        num_caption_tokens=len(new_ids),
        selected=tuple(indices.tolist()),
        scores=scores[0].to("cpu", torch.float32).numpy(),
        grid=visual.grid,
        tokens=visual.select(clip.index, indices),
    )
