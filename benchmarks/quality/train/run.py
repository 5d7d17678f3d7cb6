"""Train the tiny checkpoint: `python -m benchmarks.quality.train.run --run runs/tiny [--resume]`."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from benchmarks.quality.world import grammar, tokens

from . import answering, captioning, pool, reading, tower
from .attention import use_plain_grouped
from .export import export
from .model import Shape, build, visual_tokens
from .optim import Optimizers, schedule
from .plan import Plan, micro
from .precision import autocast

AVERAGE = 0.95


class Log:
    """A running average of the figures, one JSON line now and then."""

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every, self.phase, self.mean = path, every, "", {}
        self.start = time.monotonic()

    def add(self, phase: str, step: int, figures: dict[str, float]) -> None:
        if phase != self.phase:
            self.phase, self.mean = phase, {}
        for name, value in figures.items():
            self.mean[name] = AVERAGE * self.mean.get(name, value) + (1 - AVERAGE) * value
        if step % self.every == 0:
            self.write(phase, step, self.mean)

    def write(self, phase: str, step: int, figures: dict[str, float]) -> None:
        row = {"phase": phase, "step": step, "seconds": round(time.monotonic() - self.start)}
        row |= {name: round(value, 3) for name, value in figures.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def train_tower(model: nn.Module, plan: Plan, log: Log, bar: Progress) -> None:
    """Teach the vision tower and the projector what is in a cell."""
    torch.manual_seed(plan.seed)
    probe = nn.Linear(model.config.text_config.hidden_size, tower.PROBE_SIZE)
    named = [(n, p) for n, p in model.named_parameters() if "vision_tower" in n or "projector" in n]
    optimizers = Optimizers([*named, *(("probe." + n, p) for n, p in probe.named_parameters())])
    for step in bar.track(range(plan.tower_steps), description="vision tower"):
        early = step < 0.15 * plan.tower_steps
        batch = tower.frame_batch((plan.seed, 1, step), plan.tower_frames, (0.16, 0.24) if early else (0.115, 0.205))
        with autocast():
            seen = visual_tokens(model, batch["frames"])
        loss, figures = tower.probe_loss(probe, seen, batch)
        optimizers.step(loss, schedule(step, plan.tower_steps, plan.tower_rate))
        log.add("tower", step, figures)


def hold_out(clips: pool.Pool, count: int) -> tuple[pool.Pool, pool.Pool]:
    """The last `count` clips apart from the others."""
    cut = len(clips) - count
    return (
        pool.Pool(clips.tokens[:cut], clips.owner[:cut], clips.things[:cut]),
        pool.Pool(clips.tokens[cut:], clips.owner[cut:], clips.things[cut:]),
    )


@torch.no_grad()
def held_exactness(model: nn.Module, tokenizer, probe: nn.Linear, held: pool.Pool) -> dict[str, float]:
    """Share of unseen clips captioned exactly, without and with full memory."""
    found = {}
    for name, memory in (("held", 0.0), ("held_memory", 1.0)):
        rng = np.random.default_rng(99)
        scores = []
        for _ in range(4):
            mix = captioning.CaptionMix(memory=memory)
            batch = captioning.draw(held, tokenizer, rng, mix, 48)
            with autocast():
                scores.append(captioning.loss(model, tokenizer, probe, batch, 0.0)[1]["exact"])
        found[name] = sum(scores) / len(scores)
    return found


def train(directory: Path, plan: Plan, shape: Shape, *, resume: bool, stop: int | None, every: int) -> None:
    """Run or continue a training; the state after a step depends on plan and shape only, not on interruptions."""
    directory.mkdir(parents=True, exist_ok=True)
    log = Log(directory / "log.jsonl", 1 if plan.steps < 50 else 20)
    tokenizer = tokens.build()
    model = build(shape, plan.seed)
    torch.manual_seed(plan.seed + 1)
    probe = nn.Linear(shape.text_width, len(grammar.MOTIONS))
    readings = reading.Probes(shape.text_width, tokenizer.get_vocab_size())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        tower_file, pool_file, state_file = (directory / f"{n}.pt" for n in ("tower", "pool", "state"))
        if resume and tower_file.exists():
            model.load_state_dict(torch.load(tower_file))
        else:
            train_tower(model, plan, log, bar)
            torch.save(model.state_dict(), tower_file)
        if not (resume and pool_file.exists()):
            pool.save(pool.build(model, plan.seed, plan.pool_clips, plan.pool_workers), pool_file)
        use_plain_grouped(model)
        clips, held = hold_out(pool.load(pool_file), plan.held_clips)
        parts = ("language_model", "lm_head", "image_newline")
        named = [(n, p) for n, p in model.named_parameters() if any(part in n for part in parts)]
        optimizers = Optimizers(
            [
                *named,
                *(("probe." + n, p) for n, p in probe.named_parameters()),
                *(("readings." + n, p) for n, p in readings.named_parameters()),
            ]
        )
        first = 0
        if resume and state_file.exists():
            state = torch.load(state_file)
            model.load_state_dict(state["model"])
            probe.load_state_dict(state["probe"])
            readings.load_state_dict(state["readings"])
            optimizers.load_state_dict(state["optimizers"])
            first = state["step"]
        last = plan.steps if stop is None else min(stop, plan.steps)
        task = bar.add_task("language model", total=plan.steps, completed=first)
        for step in range(first, last):
            stage, most = plan.at(step)
            rng = np.random.default_rng((plan.seed, 3, step))
            batch = captioning.draw(clips, tokenizer, rng, stage.mix, stage.rows)
            lists = max(2, stage.text_tokens // (60 + 26 * most + 35 * plan.asked))
            asked = answering.draw(tokenizer, rng, lists, lines=(1, most), asked=plan.asked, kinds=stage.kinds)
            with autocast():
                seen, figures = captioning.loss(model, tokenizer, probe, batch, stage.mix.probe)
                read, more = answering.loss(model, asked, readings, stage.aid)
            optimizers.step(seen + read, plan.rate_at(step))
            log.add("language", step, figures | more)
            bar.update(task, advance=1)
            if step + 1 == plan.steps - plan.stages[-1].steps:
                torch.save(model.state_dict(), directory / "before_last_stage.pt")
            if (step + 1) % every == 0 or step + 1 == last:
                state = {"step": step + 1, "model": model.state_dict(), "probe": probe.state_dict()}
                state["readings"] = readings.state_dict()
                torch.save(state | {"optimizers": optimizers.state_dict()}, directory / "state.new")
                (directory / "state.new").replace(state_file)
                export(model, model.state_dict(), directory / "checkpoint")
                log.write("held", step + 1, held_exactness(model, tokenizer, probe, held))
        if last == plan.steps:
            earlier = torch.load(directory / "before_last_stage.pt")
            mean = {name: (value + earlier[name]) / 2 for name, value in model.state_dict().items()}
            export(model, mean, directory / "checkpoint")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="directory for state, log and checkpoint")
    parser.add_argument("--resume", action="store_true", help="go on where the directory's last state ends")
    parser.add_argument("--stop", type=int, help="stop after this step of the language model")
    parser.add_argument("--every", type=int, default=200, help="steps between two checkpoints")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--micro", action="store_true", help="a plan of a few steps on a tiny model")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    plan, shape = Plan(), Shape()
    if arguments.micro:
        plan, shape = micro(plan), Shape(64, 64, 1, 64, 64, 4, 2, 1, 32)
    train(arguments.run, plan, shape, resume=arguments.resume, stop=arguments.stop, every=arguments.every)


if __name__ == "__main__":
    main()
