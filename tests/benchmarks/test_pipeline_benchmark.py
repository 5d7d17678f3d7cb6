"""The full-size benchmark at toy size: its ways agree, its rows are written as they come, its failures are rows."""

import csv
import math
import sys
import time

import pytest
import torch

from benchmarks.pipeline import measure, run, ways
from benchmarks.pipeline.clock import Marks
from benchmarks.pipeline.floors import Floors, Rates
from benchmarks.pipeline.random_backbone import random_backbone
from benchmarks.pipeline.shapes import FULL, MODELS, TOY, TOYS
from benchmarks.pipeline.table import markdown

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_run_without_a_gpu(tmp_path, capsys):
    out = tmp_path / "pipeline.csv"
    assert run.main(["--model", TOYS[0].name, "--minutes", "0.05", "--out", str(out)]) == 0
    assert "say nothing about a GPU" in capsys.readouterr().out
    rows = read(out)
    stages = {way: {row["stage"] for row in rows if row["way"] == way} for way in ways.WAYS}
    common = {"weights", "vision", "prefill", "caption token", "clip", "retrieval", "answer prefill", "answer token"}
    common |= {"question", "caption token, mean of a caption"}
    assert stages["generate-sdpa"] == common
    assert stages["eager-maps"] == common | {"selection"}
    alone = {"decode video", "remember", "clip in a stream", "caption token, not scored"}
    floors = {row["stage"]: float(row["floor_ms"]) for row in rows if row["way"] == "ours" and row["floor_ms"]}
    assert floors["caption step, 4 at once"] > floors["caption token"]
    alone |= {"clip, 4 at once", "caption step, 4 at once"}
    assert stages["ours"] == common | {"scoring", "selection"} | alone
    for row in rows:
        assert row["device"] == "cpu" and row["commit"] and row["transformers"] and float(row["copy_gb_per_s"]) > 0
        if row["stage"] != "weights":
            assert 0 < float(row["p20_ms"]) <= float(row["p50_ms"]) <= float(row["p80_ms"])
    assert "toy llava-onevision | ours" in (tmp_path / "pipeline.md").read_text()


def test_toys_never_become_results(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results" / "pipeline.csv")
    monkeypatch.setattr(run, "measure", lambda *arguments: iter(()))
    assert run.main([]) == 1
    assert not run.RESULTS.parent.exists()
    assert run.main(["--model", MODELS[0].name]) == 2
    assert "needs a CUDA device" in capsys.readouterr().err


@pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.family)
def test_the_ways_say_and_see_the_same(toy):
    backbone = random_backbone(toy, "cpu", torch.float32)
    frames = torch.randint(0, 256, (4, 24, 40, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    visual = backbone.encode(frames)
    memory = [visual.select(0, torch.tensor([0, 3, 5]))]
    prompt = backbone.caption_prompt(visual, memory, "What?")
    texts, scores = [], []
    for make in ways.WAYS.values():
        way, marks = make(backbone), Marks(CPU)
        texts.append(way.caption(prompt, 9, marks))
        found = way.scores(prompt, texts[-1])
        assert len(marks.milliseconds()) == 9 and texts[-1].shape == (1, 9)
        assert (found is not None) == way.scores_captions
        if found is not None:
            assert found.shape == (1, visual.count)
            scores.append(found)
        way.close()
    assert all(torch.equal(text, texts[0]) for text in texts)
    torch.testing.assert_close(*scores, rtol=1e-4, atol=1e-7)


def test_out_of_memory_is_a_row_and_ends_nothing(monkeypatch):
    def no_room(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ways.EagerMaps, "caption", no_room)
    rows = {row.stage: row for row in measure.measure(TOYS[0], "eager-maps", TOY, CPU, 1.0)}
    assert rows["clips"].note == "out of memory" and rows["clips"].p50_ms is None
    assert rows["question"].p50_ms > 0
    table = markdown([{**vars(row), "device": "cpu"} for row in rows.values()])
    assert "clips: out of memory" in table
    monkeypatch.setattr(measure, "random_backbone", no_room)
    assert [row.note for row in measure.measure(TOYS[0], "ours", TOY, CPU, 1.0)] == ["out of memory"]


def child(tmp_path, code):
    script = tmp_path / "child.py"
    script.write_text('import sys, time\nprint(\'{"model": "m", "way": "w", "stage": "vision"}\', flush=True)\n' + code)
    return [sys.executable, str(script)]


@pytest.mark.parametrize(
    "code, note",
    [
        ("time.sleep(600)", "not done within 1 s"),
        ("sys.exit('illegal memory access')", "process ended with 1: illegal memory access"),
        ("print('noise')", None),
    ],
)
def test_a_process_that_hangs_or_dies_leaves_its_rows(tmp_path, monkeypatch, code, note):
    monkeypatch.setattr(run, "GRACE", 0.5)
    begin = time.monotonic()
    rows = list(run.isolated("m", "w", 0.5, child(tmp_path, code)))
    assert time.monotonic() - begin < 60
    assert [row.stage for row in rows] == ["vision"] + (["rest"] if note else [])
    assert note is None or rows[-1].note.startswith(note)


def test_floors_count_what_is_read_and_computed():
    backbone = random_backbone(TOYS[0], "cpu", torch.float32)
    floors = Floors(backbone.model, Rates(bytes_per_second=1e9, flops=1e9))
    hidden, inner, layers, vocabulary = 64, 128, 4, 512
    matrices = layers * (hidden * (64 + 32 + 32) + 64 * hidden + 3 * hidden * inner)
    others = layers * (64 + 32 + 32 + 2 * hidden) + hidden
    assert floors.step() == pytest.approx(1e3 * 4 * (matrices + others + vocabulary * hidden) / 1e9)
    attention = 4 * layers * 64 * 10**2 / 2
    assert floors.prefill(10) == pytest.approx(1e3 * (20 * matrices + attention + 2 * vocabulary * hidden) / 1e9)
    assert floors.vision(3) == pytest.approx(1e3 * 6 * 2 * (4 * 24 * 24 + 2 * 24 * 32) / 1e9)


@pytest.mark.parametrize(
    "model, billions, step_gb",
    [("llava-onevision-7b", 8.03, 14.14), ("llava-onevision-0.5b", 0.89, 0.99), ("qwen2.5-vl-7b", 8.29, 14.14)],
)
def test_full_sizes_are_those_published(model, billions, step_gb):
    """The published sizes in parameters, and the part of them that a step reads, without making a single weight."""
    [shape] = [one for one in MODELS if one.name == model]
    backbone = random_backbone(shape, "meta", torch.bfloat16)
    assert sum(p.numel() for p in backbone.model.parameters()) == pytest.approx(1e9 * billions, rel=0.01)
    floors = Floors(backbone.model, Rates(1.0, 1.0))
    assert floors.step_bytes == pytest.approx(1e9 * step_gb, rel=0.01)
    assert backbone.max_positions >= FULL.context_tokens + 2000


def test_the_hour_behind():
    assert FULL.captions == math.floor(1800 / 16)
