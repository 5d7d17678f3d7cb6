"""Several texts at once: the tokens of each by itself."""

import pytest
import torch
from families import FAMILIES, SLIDING
from random_prompts import ENDS, random_prompt
from tiny_models import load_tiny_backbone

from rlivs.decoding import (
    RepetitionGuard,
    begin_side_by_side,
    generate_greedily,
    generate_side_by_side,
    side_by_side_refusal,
    steps,
)

BATCHES = 6


@pytest.fixture(scope="module", params=sorted(set(FAMILIES) - SLIDING))
def family(request, tmp_path_factory):
    backbone = load_tiny_backbone(tmp_path_factory.mktemp(request.param), request.param)
    backbone.eos_token_ids = ENDS
    return backbone


def together(backbone, prompts, limits, **options):
    one = begin_side_by_side(backbone.model, prompts, max(limits))
    one.prefill()
    return generate_side_by_side(backbone, one, limits, **options)


def apart(backbone, prompts, limits):
    return [generate_greedily(backbone, p, limit)[0].tolist() for p, limit in zip(prompts, limits, strict=True)]


def test_tokens_are_those_of_each_alone(family):
    early = 0
    for seed in range(BATCHES):
        prompts = [random_prompt(10 * seed + row) for row in range(2 + seed % 4)]
        limits = [1 + (seed + 3 * row) % 10 for row in range(len(prompts))]
        texts = together(family, prompts, limits)
        assert texts == apart(family, prompts, limits), seed
        early += sum(len(text) < limit for text, limit in zip(texts, limits, strict=True))
    assert early > 0


def test_prompts_in_pieces_and_the_shortest(family, monkeypatch):
    # all but the last position are 0, 1, 16 and 47
    prompts = [random_prompt(length, length, length) for length in (1, 2, 17, 48)]
    alone = apart(family, prompts, [8] * 4)
    monkeypatch.setattr(steps, "PREFILL_CHUNK", 16)
    assert together(family, prompts, [8] * 4) == alone


class Spoken:
    """Steps that say what is written for each text."""

    def __init__(self, *texts):
        self.starts = (0,) * len(texts)
        self.token = torch.zeros(len(texts), 1, dtype=torch.long)
        self._texts = zip(*texts, strict=True)

    def step(self):
        self.token[:, 0] = torch.tensor(next(self._texts))


def test_a_text_that_loops_is_cut_and_the_others_go_on(backbone, monkeypatch):
    monkeypatch.setattr(backbone, "eos_token_ids", (7,))
    looping, ending, long = [99, *[10, 11, 12] * 33], [*range(20, 60), 7, *[0] * 59], [*range(100, 200)]
    guards = [RepetitionGuard() for _ in range(3)]
    texts = generate_side_by_side(backbone, Spoken(looping, ending, long), [100, 100, 90], guards=guards)
    assert texts == [[99, 10, 11, 12], [*range(20, 60), 7], [*range(100, 190)]]
    assert [guard.looped for guard in guards] == [True, False, False]
    assert generate_side_by_side(backbone, Spoken(looping, ending, long), [100] * 3) == [looping, ending[:41], long]


def test_nothing_is_kept_for_gradients(tmp_path):
    backbone = load_tiny_backbone(tmp_path, "llava_onevision")
    backbone.model.requires_grad_(True)
    one = begin_side_by_side(backbone.model, [random_prompt(1), random_prompt(2)], 4)
    one.prefill()
    generate_side_by_side(backbone, one, [4, 4])
    assert not any(layer.keys.requires_grad or layer.values.requires_grad for layer in one._cache.layers)


def test_steps_end_with_the_last_text(backbone, monkeypatch):
    monkeypatch.setattr(backbone, "eos_token_ids", ())
    known = []
    texts = together(backbone, [random_prompt(1), random_prompt(2)], [3, 5], on_step=lambda: known.append(1))
    assert [len(text) for text in texts] == [3, 5] and len(known) == 5


@pytest.mark.parametrize("name", sorted(SLIDING))
def test_models_whose_layers_have_windows_are_refused(tmp_path, name):
    assert "attend to all positions" in side_by_side_refusal(load_tiny_backbone(tmp_path, name).model)


def test_a_model_on_several_devices_is_refused(backbone, monkeypatch):
    assert side_by_side_refusal(backbone.model) is None
    elsewhere = torch.nn.Parameter(torch.zeros(1, device="meta"))
    monkeypatch.setattr(backbone.model, "parameters", lambda: iter([torch.nn.Parameter(torch.zeros(1)), elsewhere]))
    assert side_by_side_refusal(backbone.model) == "it lies on several devices"
