"""The study gives the same numbers again, its shortcuts are the library's answers, and its controls are at chance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.quality.study import (
    answers,
    controls,
    improvements,
    place,
    recurrence,
    retrieval_cells,
    tables,
    tokens_kept,
)
from benchmarks.quality.study.__main__ import MODEL
from benchmarks.quality.study.footage import film
from benchmarks.quality.study.intervals import Share, difference
from benchmarks.quality.study.lab import Lab
from benchmarks.quality.study.plan import MICRO
from benchmarks.quality.study.recurrent import Policy, remember
from benchmarks.quality.study.selection import METHODS, kept_tokens
from benchmarks.quality.world.spread import uniform_columns
from rlivs.backbones import load_backbone
from rlivs.memory.visual import SelectedTokens

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "quality"
PLAN = replace(MICRO, streams=2, clips=3, each=1, kept=(16,), choosing_streams=1, choosing_clips=1)
SEED = 700_001


@pytest.fixture(scope="module")
def make_lab(tmp_path_factory):
    cache = tmp_path_factory.mktemp("footage")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def make() -> Lab:
        backbone = load_backbone(MODEL, device="cpu", attn_implementation="eager")
        return Lab(backbone, PLAN, film(backbone, SEED, PLAN.streams, PLAN.clips, PLAN.side, PLAN.rate, cache), cache)

    yield make
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def lab(make_lab):
    return make_lab()


def test_a_rerun_gives_the_same_tables(lab, make_lab):
    def small(one: Lab):
        found = [*tokens_kept.tokens_kept(one), *recurrence.recurrence(one)]
        return [table.rows for table in [*found, *retrieval_cells.retrieval(one)]]

    assert small(lab) == small(make_lab())


def test_the_shortcuts_agree_with_the_library(lab):
    for name, same, of in controls.agreement(lab).rows:
        assert same == of, name
        assert int(of) >= 3


def test_untrained_weights_and_shuffled_answers_are_at_chance(lab):
    rows = {row[0]: row for row in controls.controls(lab)[0].rows}
    for name in ("untrained weights", "trained, answers shuffled"):
        low, high = map(float, rows[name][2].split("-"))
        assert low <= float(rows[name][4]) <= high, name
    assert int(rows["trained"][3]) >= 20


def test_clip_questions_packed_together_are_answered_as_if_alone(lab):
    visual = [lab.footage.tokens[0, c][:32] for c in range(3)]
    together, logits = answers.clip_answers(lab.backbone, visual, lab.asks[:3])
    for clip in range(3):
        for number, ask in enumerate(lab.asks[clip]):
            alone, first = answers.clip_answers(lab.backbone, visual[clip : clip + 1], [[ask]])
            assert alone[0][0] == together[clip][number]
            torch.testing.assert_close(first[0][0], logits[clip][number], rtol=1e-3, atol=1e-3)


def test_shifted_columns_read_the_column_before(lab):
    right, wrong = lab.scores(), lab.scores(shift=1)
    np.testing.assert_array_equal(wrong[..., 1:], right[..., :-1])
    np.testing.assert_allclose(right, lab.run.scores, atol=1e-6)


def test_semantic_eviction_drops_the_older_of_the_two_slots_that_are_most_alike():
    first, second, third = torch.eye(3)[:, None].expand(3, 4, 3)
    slots = [SelectedTokens(i, tokens, torch.arange(4)) for i, tokens in enumerate((first, second, first, third))]

    def left(evict: str) -> list[int]:
        memory: list[SelectedTokens] = []
        for slot in slots:
            memory = remember(memory, slot, Policy(slots=3, evict=evict))
        return [slot.clip_index for slot in memory]

    assert left("fifo") == [1, 2, 3]
    slots[0], slots[3] = slots[3], slots[0]  # now the first, third, is like no other; the last two are alike
    slots[1:] = [slots[1], slots[2], SelectedTokens(4, first, torch.arange(4))]
    assert left("semantic") == [3, 1, 4]


def test_uniform_keeps_different_cells_of_the_frames():
    for count in (3, 8, 16):
        for turn in (0, 7):
            assert len(set((uniform_columns(count, 256, turn) % 16).tolist())) == count


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_as_many_tokens_as_asked(method):
    rng = np.random.default_rng(3)
    tokens = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
    scores, cover = rng.random(256), rng.random(256)
    for count in (3, 16, 256):
        kept, columns = kept_tokens(method, count, tokens, scores, cover, (1,))
        assert kept.shape == (count, 8)
        if columns is not None:
            assert (columns.diff() > 0).all() and torch.equal(kept, tokens[columns])
    if method == "attention":
        assert set(columns.tolist()) == set(range(256))


def test_calibration_prefers_the_layer_that_explains_the_caption(lab):
    layer, losses = improvements.calibrated_layer(lab)
    assert len(losses) == lab.depth and losses[layer] == min(losses)


def test_wilsons_interval():
    low, high = Share(8, 10).interval
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    assert Share(0, 10).interval[0] == pytest.approx(0) and Share(10, 10).interval[1] == pytest.approx(1)


def test_differences_are_paired_by_clip():
    rng = np.random.default_rng(0)
    hits = [list(rng.random(5) < 0.5) for _ in range(200)]
    worse = [[hit and number > 0 for number, hit in enumerate(clip)] for clip in hits]
    assert difference(hits, hits) == ["+0.0", "+0.0 to +0.0"]
    lost = 100 * sum(clip[0] for clip in hits) / 1000
    points, interval = difference(hits, worse)
    low, high = map(float, interval.split(" to "))
    assert float(points) == pytest.approx(lost, abs=0.06) and 0 < low < lost < high < 2 * lost
    flipped, _ = difference(worse, hits)
    assert float(flipped) == -float(points)


def test_places_are_read_where_tokens_hold_them(lab):
    """Tokens that hold nothing but their column and row are read exactly, tokens without them not at all."""
    cell = torch.arange(256) % 16
    held = torch.stack([cell % 4, cell // 4], -1).float() @ torch.randn(
        2, 8, generator=torch.Generator().manual_seed(1)
    )
    shape = (*lab.footage.tokens.shape[:2], 256, 8)
    for tokens, found in ((held.expand(shape), True), (torch.zeros(shape), False)):
        for _, distance, mean, right, _ in place.read_places(replace(lab.footage, tokens=tokens)):
            if found:
                assert (distance, right) == ("0.00", 100.0)
            else:
                assert distance == mean


def test_the_documents_tables_are_the_results():
    """Every table between markers in docs/quality.md is the CSV of its name."""
    text = (ROOT / "docs" / "quality.md").read_text()
    shown = 0
    for part in text.split("<!-- table ")[1:]:
        head, rest = part.split(" -->\n", 1)
        name, _, chosen = head.partition(" ")
        body = rest.split("<!-- end -->")[0].strip("\n")
        columns, rows = tables.read(RESULTS / f"{name}.csv")
        if chosen:
            column, value = chosen.split("=")
            rows = [row for row in rows if row[columns.index(column)] == value]
        assert rows and body == tables.markdown(columns, rows).strip("\n"), name
        shown += 1
    assert shown == len(list(RESULTS.glob("*.csv")))
