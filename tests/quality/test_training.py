"""An interrupted training ends where an uninterrupted one does, bit by bit."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
import torch

from benchmarks.quality.make_demo import ASSETS
from benchmarks.quality.train import answering, continue_run, run
from benchmarks.quality.train.attention import use_plain_grouped
from benchmarks.quality.train.model import Shape, build
from benchmarks.quality.train.plan import Plan
from benchmarks.quality.world import tokens

SMALL = Shape(64, 64, 1, 64, 64, 2, 2, 1, 32)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_resuming_changes_nothing(tmp_path, monkeypatch):
    def train(name, *options):
        command = ["run", "--run", str(tmp_path / name), "--micro", "--threads", "1", *options]
        monkeypatch.setattr(sys, "argv", command)
        run.main()

    train("whole")
    train("parts", "--stop", "2")
    assert torch.load(tmp_path / "parts" / "state.pt")["step"] == 2
    train("parts", "--resume")
    whole, parts = (torch.load(tmp_path / name / "state.pt") for name in ("whole", "parts"))
    assert whole["step"] == parts["step"] == 4
    for name, value in whole["model"].items():
        assert torch.equal(value, parts["model"][name]), name
    assert (tmp_path / "parts" / "checkpoint" / "model.safetensors").exists()


def test_going_on_to_the_second_world(tmp_path):
    """Two steps of every stage; a second call goes on from what the first one left."""
    plan = continue_run.Plan(
        chunks=(0, 1), streams_a_chunk=1, held=range(1, 2), held_rows=2, first_world_clips=20, tower_steps=2,
        tower_frames=8, steps=2, caption_tokens=1200, clip_question_tokens=600, list_tokens=300, asked=2, lines=8,
    )  # fmt: skip
    continue_run.train(tmp_path, ASSETS / "tiny-onevision", plan)
    stages = [tmp_path / f"{name}.pt" for name in ("frames0", "frames1", "tower", "tokens0", "tokens1", "first_world")]
    before = [file.stat().st_mtime_ns for file in stages]
    state = torch.load(tmp_path / "state.pt")
    assert state["step"] == 2
    trained = continue_run.load_start(tmp_path / "checkpoint")
    shipped = continue_run.load_start(ASSETS / "tiny-onevision").state_dict()
    changed = {name.split(".")[1] for name, value in trained.state_dict().items() if not value.equal(shipped[name])}
    assert changed >= {"vision_tower", "multi_modal_projector", "language_model"}
    continue_run.train(tmp_path, ASSETS / "tiny-onevision", replace(plan, steps=3))
    assert torch.load(tmp_path / "state.pt")["step"] == 3
    assert [file.stat().st_mtime_ns for file in stages] == before
    figures = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {line["phase"] for line in figures} == {"tower", "language", "held"}


def test_questions_that_share_a_list_do_not_see_each_other():
    """Packed questions give the loss that each gives alone."""
    import numpy as np

    tokenizer = tokens.build()
    model = build(SMALL).eval()
    use_plain_grouped(model)
    batch = answering.draw(tokenizer, np.random.default_rng(4), 2, lines=(3, 3), asked=3)
    with torch.no_grad():
        embeds = model.get_input_embeddings()(batch.ids)
        bias = torch.zeros(batch.mask.shape).masked_fill_(~batch.mask, -1e9)
        packed = model.model.language_model(
            inputs_embeds=embeds, attention_mask=bias, position_ids=batch.positions, use_cache=False
        ).last_hidden_state
        for row in range(2):
            base = int((batch.positions[row] == torch.arange(batch.ids.shape[1])).cumprod(0).sum())
            for number in range(3):
                at = torch.nonzero(batch.owner[row] == number)[:, 0]
                visible = batch.mask[row, 0, at[-1]]
                alone = model.model.language_model(
                    inputs_embeds=embeds[row, visible][None], use_cache=False
                ).last_hidden_state[0, -len(at) :]
                assert base > 0
                torch.testing.assert_close(packed[row, at], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("step", [0, 99, 100, 499, 1799])
def test_the_curriculum_never_shrinks(step):
    plan = Plan()
    _, now = plan.at(step)
    _, later = plan.at(step + 1)
    assert 1 <= now <= later <= 30


def test_muon_is_torchs_in_float32():
    """Steps of both from the same gradients differ by no more than bfloat16 rounds."""
    from benchmarks.quality.train.muon import Muon

    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in ((24, 24), (40, 16), (16, 40))]
    found = []
    for kind in (Muon, lambda matrices, **rest: torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw", **rest)):
        generator.manual_seed(1)
        matrices = [torch.nn.Parameter(matrix.clone()) for matrix in start]
        optimizer = kind(matrices, lr=0.02, weight_decay=0.1)
        for _ in range(3):
            for matrix in matrices:
                matrix.grad = torch.randn(matrix.shape, generator=generator)
            optimizer.step()
        found.append([matrix.detach() for matrix in matrices])
    for mine, theirs, first in zip(*found, start, strict=True):
        assert (mine - theirs).norm() < 0.02 * (mine - first).norm()
