"""The pipeline benchmark as it runs on a GPU, at toy size: on one, or on its stand-in."""

import pytest
import torch

from benchmarks.pipeline import measure, ways
from benchmarks.pipeline.shapes import TOY, TOYS


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("toy", "way"),
    [(TOYS[0], way) for way in ways.WAYS] + [(TOYS[1], "ours")],
    ids=lambda each: each if isinstance(each, str) else each.family,
)
def test_every_stage_is_measured(gpu, monkeypatch, toy, way):
    # The rates take gigabytes; of what a stand-in launches there is no profile.
    monkeypatch.setattr(measure, "copy_rate", lambda device: 3e12)
    monkeypatch.setattr(measure, "matmul_rate", lambda device, dtype: 7e14)
    if gpu is not None:
        monkeypatch.setattr(measure, "_kernels", lambda bench: iter(()))
    monkeypatch.setattr(measure, "CLIP_REPEATS", 1)
    monkeypatch.setitem(measure.AT_ONCE, "cuda", (2, 3))
    rows = list(measure.measure(toy, way, TOY, torch.device("cuda"), 0.1))
    assert [row.note for row in rows if row.note.startswith(("failed", "out of memory", "no CUDA graph"))] == []
    assert all(row.p50_ms is not None and row.p50_ms > 0 for row in rows[1:])
    stages = {row.stage for row in rows}
    assert {"vision", "prefill", "caption token", "clip", "answer prefill", "answer token", "question"} <= stages
    if way == "ours":
        assert {"caption step, 2 at once", "clip, 3 at once", "clip in a stream", "scoring"} <= stages
        [token] = [row for row in rows if row.stage == "caption token"]
        assert token.note.startswith("CUDA graph; decode attention by ")
