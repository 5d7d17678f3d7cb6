"""When steps are captured, replayed, or not: the order of things, with a graph that a CPU can play."""

import logging

import pytest
import torch
from random_prompts import random_prompt

from rlivs.decoding import fixed, generate_greedily, graph, greedy, side_by_side


class PlayedGraph:
    """Undoes what runs while it captures, as if it had only been noted, and runs a step when it is replayed."""

    log: list
    steps: fixed.FixedSteps

    def capture_begin(self, pool, capture_error_mode):
        assert capture_error_mode == "thread_local"
        self.log.append(("capture", pool))
        one = self.steps
        layers = one._cache.layers
        held = [one.token, one._position, one.fed.length, one.fed.lengths, one.fed.place]
        held += [states for layer in layers for states in (layer.keys, layer.values)]
        self.before = [(tensor, tensor.clone()) for tensor in held]

    def capture_end(self):
        for tensor, value in self.before:
            tensor.copy_(value)
        self.step = fixed.FixedSteps.step

    def pool(self):
        return f"pool of {id(self)}"

    def replay(self):
        self.log.append(("replay", None))
        self.step(self.steps)


@pytest.fixture
def played(monkeypatch):
    """Captures and replays in order; nothing is remembered from test to test."""
    PlayedGraph.log = []

    class Noted(graph.GraphedSteps):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            PlayedGraph.steps = self

    monkeypatch.setattr(torch.cuda, "CUDAGraph", PlayedGraph)
    monkeypatch.setattr(graph, "_side_stream", lambda device: None)
    monkeypatch.setattr(graph.GraphedSteps, "_beside", lambda self, work: work())
    monkeypatch.setattr(graph, "_last_graphs", type(graph._last_graphs)())
    monkeypatch.setattr(graph, "_refused", type(graph._refused)())
    monkeypatch.setattr(greedy, "begin_steps", Noted)
    return PlayedGraph.log


def plain(backbone, prompt, count, monkeypatch):
    with monkeypatch.context() as patcher:
        patcher.setattr(greedy, "begin_steps", fixed.FixedSteps)
        return generate_greedily(backbone, prompt, count)


def test_one_capture_a_text_and_replays_from_then_on(backbone, played, monkeypatch):
    monkeypatch.setattr(backbone, "eos_token_ids", ())
    pools = []
    for seed, count in ((0, 9), (1, 30), (2, 3)):
        prompt = random_prompt(seed)
        ids = generate_greedily(backbone, prompt, count)
        assert [what for what, _ in played] == ["capture"] + ["replay"] * (count - 2)
        pools.append(played[0][1])
        played.clear()
        assert torch.equal(ids, plain(backbone, prompt, count, monkeypatch))
    # each shares the memory of the one before
    assert pools[0] is None and None not in pools[1:] and len(set(pools)) == 3


def test_texts_side_by_side_are_captured_together(backbone, played, monkeypatch):
    monkeypatch.setattr(backbone, "eos_token_ids", ())

    class Noted(side_by_side.GraphedSideBySideSteps):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            PlayedGraph.steps = self

    for seed, rows in ((0, 2), (5, 3)):
        prompts = [random_prompt(seed + row) for row in range(rows)]
        steps = Noted(backbone.model, prompts, 9)
        steps.prefill()
        texts = side_by_side.generate_side_by_side(backbone, steps, [9] * rows)
        assert [what for what, _ in played] == ["capture"] + ["replay"] * 8
        played.clear()
        assert texts == [plain(backbone, prompt, 9, monkeypatch)[0].tolist() for prompt in prompts]


def test_short_texts_capture_nothing(backbone, played):
    for count in (1, 2):
        generate_greedily(backbone, random_prompt(0), count)
    assert not played


def test_where_memory_is_short_the_next_text_is_captured_again(backbone, played, monkeypatch):
    monkeypatch.setattr(backbone, "eos_token_ids", ())
    real_end, room = PlayedGraph.capture_end, [False, True]

    def end(self):
        real_end(self)
        if not room.pop(0):
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(PlayedGraph, "capture_end", end)
    for seed in range(2):
        prompt = random_prompt(seed)
        assert torch.equal(generate_greedily(backbone, prompt, 6), plain(backbone, prompt, 6, monkeypatch))
    assert [what for what, _ in played] == ["capture", "capture"] + ["replay"] * 4


def test_where_capturing_fails_steps_go_on_and_it_is_said_once(backbone, played, monkeypatch, caplog):
    monkeypatch.setattr(backbone, "eos_token_ids", ())

    def broken(self):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    real_end = PlayedGraph.capture_end

    def end(self):
        real_end(self)
        broken(self)

    monkeypatch.setattr(PlayedGraph, "capture_end", end)
    with caplog.at_level(logging.WARNING):
        for seed in range(3):
            prompt = random_prompt(seed)
            assert torch.equal(generate_greedily(backbone, prompt, 12), plain(backbone, prompt, 12, monkeypatch))
    assert [what for what, _ in played] == ["capture"]
    assert [record.getMessage() for record in caplog.records] == [
        "decoding runs without a CUDA graph: operation not permitted when stream is capturing"
    ]
