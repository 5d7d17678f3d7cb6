"""Go on from a trained checkpoint to the second world: `python -m benchmarks.quality.train.continue_run --run DIR`.

Stages, each with its own file in the run's directory, so that an interrupted run goes on where it stopped: rendered
streams, tower, visual tokens, language model.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import LlavaOnevisionForConditionalGeneration

from benchmarks.quality.make_demo import ASSETS
from benchmarks.quality.world import stream_questions, tokens

from . import answering, captioning, clip_questions, pool, reading, stream_captions, stream_pool, stream_tower
from .attention import use_plain_grouped
from .export import export
from .optim import Optimizers, schedule
from .precision import autocast
from .run import Log
from .stream_frames import Rendered, render_streams

SEED = 11


@dataclass(frozen=True)
class Plan:
    """Sizes: streams, steps, batches, learning rates."""

    chunks: tuple[int, ...] = tuple(range(13))  # of streams; three of them made for memory
    streams_a_chunk: int = 20
    held: range = range(192, 200)  # streams that are kept apart, to be measured on
    held_rows: int = 24  # clips in a batch of them
    first_world_clips: int = 1200
    tower_steps: int = 1200
    tower_frames: int = 64
    tower_rate: float = 1e-3
    steps: int = 1600
    rate: float = 8e-4
    first_world: float = 0.2  # share of the steps with the first world's captions
    caption_tokens: int = 4600
    clip_question_tokens: int = 3000
    clip_question_weight: float = 2.0
    list_tokens: int = 2000
    probe: float = 0.5  # weight of the motion probe
    recall: float = 0.3  # weight of the pointer to hidden things in memory
    asked: int = 12
    lines: int = 30
    aid: float = 0.3


def load_start(directory: Path) -> LlavaOnevisionForConditionalGeneration:
    return LlavaOnevisionForConditionalGeneration.from_pretrained(directory).float()


@torch.no_grad()
def held_exactness(
    model: nn.Module, tokenizer, held: stream_pool.StreamPool, probe: nn.Linear, rows: int
) -> dict[str, float]:
    """Share of unseen clips captioned exactly, without memory and with 4 and 16 slots of their stream's."""
    found = {}
    for slots in (0, 4, 16):
        rng = np.random.default_rng(99)
        scores = []
        for _ in range(3):
            batch, _ = stream_captions.draw(held, tokenizer, rng, rows * (300 + 16 * slots), slots)
            with autocast():
                scores.append(captioning.loss(model, tokenizer, probe, batch, 0.0)[1]["exact"])
        found[f"held_{slots}"] = float(np.mean(scores))
    return found


def train_language_model(
    model: nn.Module, directory: Path, plan: Plan, clips: stream_pool.StreamPool, held: stream_pool.StreamPool, log: Log
) -> None:
    """Captions of both worlds, questions about clips, questions about both worlds' lists."""
    tokenizer = tokens.build()
    use_plain_grouped(model)
    first_world = pool.load(directory / "first_world.pt")
    torch.manual_seed(SEED)
    probe = nn.Linear(model.config.text_config.hidden_size, 5)
    readings = reading.Probes(model.config.text_config.hidden_size, tokenizer.get_vocab_size())
    parts = ("language_model", "lm_head", "image_newline")
    named = [(n, p) for n, p in model.named_parameters() if any(part in n for part in parts)]
    optimizers = Optimizers(
        [
            *named,
            *(("readings." + n, p) for n, p in readings.named_parameters()),
            *(("probe." + n, p) for n, p in probe.named_parameters()),
        ]
    )
    state_file, first = directory / "state.pt", 0
    if state_file.exists():
        state = torch.load(state_file)
        model.load_state_dict(state["model"])
        readings.load_state_dict(state["readings"])
        probe.load_state_dict(state["probe"])
        optimizers.load_state_dict(state["optimizers"])
        first = state["step"]
    old_mix = captioning.CaptionMix((1, 2), (16,), memory=0.5)
    for step in range(first, plan.steps):
        rng = np.random.default_rng((SEED, 3, step))
        with autocast():
            if rng.random() < plan.first_world:
                batch = captioning.draw(first_world, tokenizer, rng, old_mix, plan.caption_tokens // 500)
                total, seen = captioning.loss(model, tokenizer, probe, batch, 0.0)
                figures = {f"first_{name}": value for name, value in seen.items()}
            else:
                batch, recalls = stream_captions.draw(clips, tokenizer, rng, plan.caption_tokens)
                total, figures = captioning.loss(model, tokenizer, probe, batch, plan.probe)
                if recalls:
                    extra = stream_captions.recall_loss(model, tokenizer, batch, recalls)
                    figures["recall"] = extra.item()
                    total = total + plan.recall * extra
                if batch.memory is not None:
                    figures = {f"memory_{name}": value for name, value in figures.items()}
            asked = clip_questions.draw(clips, tokenizer, rng, plan.clip_question_tokens)
            more, seen = clip_questions.loss(model, tokenizer, asked, probe, plan.probe)
            figures |= seen
            old = step % 3 == 2
            world = answering.questions if old else stream_questions
            most = int(rng.integers(6, plan.lines + 1))
            rows = max(2, plan.list_tokens // (60 + 30 * most + 30 * plan.asked))
            listed = answering.draw(
                tokenizer, rng, rows, lines=(max(1, most - 4), most), asked=plan.asked, kinds=world.KINDS, world=world
            )
            read, seen = answering.loss(model, listed, readings, plan.aid)
            figures |= {f"first_{k}" if old else f"list_{k}": v for k, v in seen.items()}
        optimizers.step(total + plan.clip_question_weight * more + read, schedule(step, plan.steps, plan.rate))
        log.add("language", step, figures)
        if (step + 1) % 50 == 0 or step + 1 == plan.steps:
            state = {"step": step + 1, "model": model.state_dict(), "readings": readings.state_dict()}
            state["probe"] = probe.state_dict()
            torch.save(state | {"optimizers": optimizers.state_dict()}, directory / "state.new")
            (directory / "state.new").replace(state_file)
            export(model, model.state_dict(), directory / "checkpoint")
        if (step + 1) % 200 == 0 or step + 1 == plan.steps:
            log.write("held", step + 1, held_exactness(model, tokenizer, held, probe, plan.held_rows))


def train(directory: Path, start: Path, plan: Plan) -> None:
    """Run or continue all stages."""
    directory.mkdir(parents=True, exist_ok=True)
    log = Log(directory / "log.jsonl", 10)
    model = load_start(start)
    frame_files = [directory / f"frames{i}.pt" for i in plan.chunks]
    size = plan.streams_a_chunk
    for number, file in zip(plan.chunks, frame_files, strict=True):
        if not file.exists():
            render_streams(SEED, range(number * size, (number + 1) * size)).save(file)
    tower_file = directory / "tower.pt"
    if tower_file.exists():
        model.load_state_dict(torch.load(tower_file))
    else:
        stream_tower.train(
            model,
            Rendered.load(frame_files),
            log,
            seed=0,
            steps=plan.tower_steps,
            frames=plan.tower_frames,
            rate=plan.tower_rate,
        )
        torch.save(model.state_dict(), tower_file)
    token_files = [directory / f"tokens{i}.pt" for i in plan.chunks]
    for frames, file in zip(frame_files, token_files, strict=True):
        if not file.exists():
            torch.save({"tokens": stream_pool.encode(model, Rendered.load([frames]))}, file)
    if not (directory / "first_world.pt").exists():
        pool.save(pool.build(model, SEED, plan.first_world_clips, 0), directory / "first_world.pt")
    indices = [i for number in plan.chunks for i in range(number * size, (number + 1) * size)]
    clips, held = split(stream_pool.load(frame_files, token_files, SEED, indices), plan.held)
    train_language_model(model, directory, plan, clips, held, log)


def split(whole: stream_pool.StreamPool, held: range) -> tuple[stream_pool.StreamPool, stream_pool.StreamPool]:
    """The streams `held` apart from the others; `whole` has streams 0, 1, 2, .."""

    def part(indices: list[int]) -> stream_pool.StreamPool:
        streams, truths = ([values[i] for i in indices] for values in (whole.streams, whole.truths))
        return stream_pool.StreamPool(whole.tokens[indices], whole.colour[indices], streams, truths)

    return part([i for i in range(len(whole.streams)) if i not in held]), part(list(held))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="directory for every stage's file, log and checkpoint")
    parser.add_argument("--start", type=Path, default=ASSETS / "tiny-onevision", help="checkpoint to start from")
    parser.add_argument("--steps", type=int, default=Plan.steps, help="steps of the language model")
    parser.add_argument("--rate", type=float, default=Plan.rate, help="the language model's learning rate")
    parser.add_argument(
        "--first-world", type=float, default=Plan.first_world, help="share of the steps with the first world's captions"
    )
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train(
        arguments.run,
        arguments.start,
        Plan(steps=arguments.steps, rate=arguments.rate, first_world=arguments.first_world),
    )


if __name__ == "__main__":
    main()
