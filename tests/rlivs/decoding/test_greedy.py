"""The loop: generate's own tokens, wherever they end; nothing left behind; scores as under generate."""

import gc
import warnings

import pytest
import torch
from random_prompts import by_generate, in_turns, random_prompt

from rlivs.decoding import RepetitionGuard, generate_greedily, greedy, steps
from rlivs.decoding.reading import RUN_AHEAD, TokenReader
from rlivs.scoring import patch


@pytest.fixture
def ending(backbone, monkeypatch):
    """The backbone with so many end-of-sequence tokens that about half of the texts end early."""
    monkeypatch.setattr(backbone, "eos_token_ids", tuple(range(0, 256, 16)))
    return backbone


def test_tokens_are_those_of_generate(ending):
    early = 0
    for seed in range(60):
        prompt, limit = random_prompt(seed), 1 + seed % 14
        ids = generate_greedily(ending, prompt, limit)
        assert torch.equal(ids, by_generate(ending, prompt, limit)), seed
        early += ids.shape[1] < limit
    assert 12 < early < 48


def test_the_end_of_sequence_token_is_included(ending):
    texts = [generate_greedily(ending, random_prompt(seed), 30)[0].tolist() for seed in range(12)]
    for text in texts:
        assert not set(text[:-1]) & set(ending.eos_token_ids)
        assert text[-1] in ending.eos_token_ids or len(text) == 30
    assert any(text[-1] in ending.eos_token_ids for text in texts)


def test_long_prompts_run_in_pieces(backbone, monkeypatch):
    prompt = random_prompt(3, 50, 50)
    whole = generate_greedily(backbone, prompt, 12)
    lengths = []
    monkeypatch.setattr(steps, "PREFILL_CHUNK", 16)
    decoder = backbone.model.get_decoder()
    hook = decoder.register_forward_pre_hook(
        lambda module, args, inputs: lengths.append(inputs["position_ids"].shape[-1]), with_kwargs=True
    )
    assert torch.equal(generate_greedily(backbone, prompt, 12), whole)
    hook.remove()
    assert lengths == [16, 16, 16, 2] + [1] * 11


def test_tokens_are_handed_on_as_they_come(backbone):
    seen = []
    ids = generate_greedily(backbone, random_prompt(1), 9, seen.append)
    assert seen == ids[0].tolist()


def test_texts_may_take_turns(backbone):
    prompts = [random_prompt(seed, 12, 60) for seed in range(3)]
    expected = [generate_greedily(backbone, prompt, 12)[0].tolist() for prompt in prompts]
    ids_in_turns = in_turns(backbone, prompts, 12)
    assert [ids[: len(text)] for ids, text in zip(ids_in_turns, expected, strict=True)] == expected


def live_tensors():
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if type(thing) in (torch.Tensor, torch.nn.Parameter)]
    return len(tensors), sum(tensor.nbytes for tensor in tensors)


def test_500_clips_leave_nothing_behind(backbone):
    with patch(backbone.model, layers=0) as handle:
        for seed in range(520):
            if seed == 20:
                before = live_tensors()
            prompt = random_prompt(seed % 20, 8, 24)
            with handle.clip(prompt.columns, prompt_length=prompt.length):
                ids = generate_greedily(backbone, prompt, 2)
                scores = handle.scores(ids)
            assert not ids.requires_grad and not scores.requires_grad
    assert live_tensors() == before


@pytest.mark.parametrize("mode", ["deferred", "rescore"])
@pytest.mark.parametrize("include_last_prompt_row", [True, False])
def test_scores_are_those_under_generate(ending, mode, include_last_prompt_row, monkeypatch):
    # the tap asks the model which tokens end a text
    monkeypatch.setattr(ending.model.generation_config, "eos_token_id", list(ending.eos_token_ids))
    with patch(ending.model, layers="all", mode=mode) as handle:
        for seed in range(8):
            prompt = random_prompt(seed, 12, 60)
            with handle.clip(prompt.columns, include_last_prompt_row):
                expected_ids = by_generate(ending, prompt, 12)
                expected = handle.scores(expected_ids)
            with handle.clip(prompt.columns, include_last_prompt_row, prompt_length=prompt.length):
                ids = generate_greedily(ending, prompt, 12)
            torch.testing.assert_close(handle.scores(ids), expected, rtol=1e-6, atol=1e-8)


def test_transformers_is_asked_for_nothing_that_it_gives_up(backbone):
    prompt = random_prompt(1)
    with warnings.catch_warnings(), patch(backbone.model, mode="rescore") as handle:
        warnings.simplefilter("error", FutureWarning)
        with handle.clip(prompt.columns, prompt_length=prompt.length):
            ids = generate_greedily(backbone, prompt, 5)
        assert handle.scores(ids).shape == (1, prompt.columns.stop - prompt.columns.start)


@pytest.fixture
def loops(backbone, monkeypatch):
    """A model that goes round: after token t comes the next of 10, 11, 12, 10, .."""

    class Circle(steps.Steps):
        def step(self):
            self.token.copy_(10 + self.token % 3)

        def prefill(self):
            self.token.fill_(99)

    monkeypatch.setattr(greedy, "Steps", Circle)
    return backbone


def test_a_loop_is_cut_and_marked(loops):
    guard = RepetitionGuard()
    ids = generate_greedily(loops, random_prompt(0), 200, guard=guard)
    assert guard.looped
    assert ids[0].tolist() == [99, 10, 11, 12]
    assert generate_greedily(loops, random_prompt(0), 200).shape == (1, 200)


def test_a_guard_leaves_other_texts_alone(ending):
    guard = RepetitionGuard()
    for seed in range(10):
        prompt = random_prompt(seed)
        assert torch.equal(generate_greedily(ending, prompt, 20, guard=guard), generate_greedily(ending, prompt, 20))
        assert not guard.looped


class FakeEvent:
    """Done only once it is waited for, or after `patience` looks."""

    patience = 10**9

    def __init__(self):
        self.looks = 0
        self.done = False

    def record(self, stream):
        pass

    def query(self):
        self.looks += 1
        return self.done or self.looks > self.patience

    def synchronize(self):
        self.done = True


@pytest.mark.parametrize("patience", [0, 1, 3, 10**9])
def test_late_tokens_come_in_order_and_at_most_a_few_steps_late(monkeypatch, patience):
    monkeypatch.setattr(FakeEvent, "patience", patience)
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    real_empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, pin_memory=False, **options: real_empty(*size, **options))
    reader = TokenReader(20, 2, torch.device("cuda"))
    taken = []
    for token in range(20):
        taken += reader.put(torch.tensor([[token], [-token]]))
        assert taken == [[token, -token] for token in range(len(taken))]
        assert token + 1 - RUN_AHEAD <= len(taken) <= token + 1
    taken += reader.rest()
    assert taken == [[token, -token] for token in range(20)]


def test_a_text_ends_where_it_should_when_tokens_come_late(ending, monkeypatch):
    """Steps run beyond the end are neither in the ids, nor handed on, nor scored."""
    monkeypatch.setattr(ending.model.generation_config, "eos_token_id", list(ending.eos_token_ids))

    class Late(TokenReader):
        def __init__(self, capacity, batch, device):
            self._waiting = []

        def put(self, token):
            self._waiting.append(token[:, 0].tolist())
            return [self._waiting.pop(0)] if len(self._waiting) > RUN_AHEAD else []

        def rest(self):
            return self._waiting

    with patch(ending.model, layers="all") as handle:
        for seed in range(10):
            prompt, seen, texts, scores = random_prompt(seed, 12), [], [], []
            for reader in (TokenReader, Late):
                monkeypatch.setattr(greedy, "TokenReader", reader)
                with handle.clip(prompt.columns, prompt_length=prompt.length):
                    texts.append(generate_greedily(ending, prompt, 9, seen.append))
                scores.append(handle.scores(texts[-1]))
            assert torch.equal(*texts)
            assert torch.equal(*scores)
            assert seen == texts[0][0].tolist() * 2
