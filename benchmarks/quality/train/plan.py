"""What is trained when: the curriculum, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.quality.world.questions import KINDS

from .captioning import CaptionMix
from .optim import schedule

HARD = (*KINDS, "at", "when", "when", "after", "after", "after")


@dataclass(frozen=True)
class Stage:
    """Steps of joint training on one mix of captions and questions."""

    steps: int
    mix: CaptionMix
    rows: int  # clips a batch
    lines: tuple[int, int]  # captions in a list, at first and at the end of the stage
    text_tokens: int = 4500  # tokens in a batch of questions
    aid: float = 0.0  # weight of the aids to reading
    kinds: tuple[str, ...] = KINDS  # of questions, drawn evenly
    rate: float | None = None  # a learning rate of its own, with its own warm-up and cosine


@dataclass(frozen=True)
class Plan:
    """The whole training; sizes are steps, batches and learning rates."""

    seed: int = 0
    tower_steps: int = 500
    tower_frames: int = 128
    tower_rate: float = 1.5e-3
    pool_clips: int = 12000
    pool_workers: int = 2
    held_clips: int = 400
    rate: float = 1.2e-3
    asked: int = 12  # questions to a list
    stages: tuple[Stage, ...] = (
        Stage(100, CaptionMix((1,), (4,), probe=1.0), 40, (1, 3)),
        Stage(300, CaptionMix((1, 2), (4, 6, 8), memory=0.2, probe=1.0), 40, (3, 6)),
        Stage(200, CaptionMix((1, 2), (4, 8, 16), 0.1, 0.4, 0.3), 16, (3, 6), 6500, 0.0),
        Stage(500, CaptionMix((1, 2), (8, 16), 0.12, 0.4), 12, (6, 14), 7000, 1.0),
        Stage(400, CaptionMix((1, 2), (8, 16, 16), 0.12, 0.5), 20, (14, 30), 6000, 0.3),
        Stage(320, CaptionMix((1, 2), (8, 16, 16), 0.12, 0.5), 10, (20, 30), 6500, 0.5, HARD, 9e-4),
        Stage(150, CaptionMix((1, 2), (8, 16, 16), 0.12, 0.5), 20, (24, 30), 5000, 0.2, KINDS, 4e-4),
    )

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step: one cosine over the stages that have no rate of their own."""
        stage, _ = self.at(step)
        shared = sum(s.steps for s in self.stages if s.rate is None)
        if stage.rate is None:
            return schedule(step, shared, self.rate)
        first = sum(s.steps for s in self.stages[: self.stages.index(stage)])
        return schedule(step - first, stage.steps, stage.rate)

    def at(self, step: int) -> tuple[Stage, int]:
        """The stage of a step, and the most lines a list has there."""
        for stage in self.stages:
            if step < stage.steps:
                first, last = stage.lines
                return stage, first + (last - first) * step // max(1, stage.steps - 1)
            step -= stage.steps
        return self.stages[-1], self.stages[-1].lines[1]


def micro(plan: Plan) -> Plan:
    """The same plan, small enough for a test."""
    stages = tuple(replace(stage, steps=2, rows=2, lines=(1, 2), text_tokens=200, aid=0.5) for stage in plan.stages[:2])
    return replace(
        plan, tower_steps=2, tower_frames=4, pool_clips=40, pool_workers=0, held_clips=20, asked=2, stages=stages
    )
