"""What a GPU does, as far as a CPU can tell: fixed addresses, lengths on the device, nothing read back in a step."""

import contextlib
import copy

import numpy as np
import pytest
import torch
from families import FAMILIES, SLIDING, qwen3_vl_moe
from families.family import text_options
from random_prompts import ENDS, by_generate, random_prompt
from tiny_models import load_tiny_backbone, tiny_tokenizer
from transformers import AutoModel, Qwen3Config, Qwen3MoeConfig

import rlivs_kernels
from rlivs.backbones import Prompt
from rlivs.decoding import fixed, generate_greedily, graph, greedy, steps
from rlivs.decoding.fewer import ROTATING, FewerOperations
from rlivs.errors import InputError
from rlivs.scoring import patch

PROMPTS = 16
# Families whose attention rotates in another way than FewerOperations does: neighbours, a part of a head.
ROTATED_OTHERWISE = {"glm46v", "glm4v", "glm4v_moe", "minicpmv4_6", "qwen3_5", "qwen3_5_moe"}
MANY_ENDS = tuple(range(0, 256, 3))  # after a template's words texts vary less


@pytest.fixture
def on_fixed_steps(monkeypatch):
    """The loop as on a GPU, but for the capture."""
    monkeypatch.setattr(greedy, "begin_steps", fixed.FixedSteps)


@pytest.fixture(scope="module", params=sorted(set(FAMILIES) - SLIDING))
def family(request, tmp_path_factory):
    backbone = load_tiny_backbone(tmp_path_factory.mktemp(request.param), request.param)
    backbone.eos_token_ids = ENDS
    return backbone


@pytest.fixture(scope="module", params=sorted(SLIDING))
def sliding_family(request, tmp_path_factory):
    backbone = load_tiny_backbone(tmp_path_factory.mktemp(request.param), request.param)
    backbone.eos_token_ids = MANY_ENDS
    return backbone


def test_families_that_can_be_captured(family):
    assert graph.has_plain_attention(family.model)


def test_families_that_cannot_are_decoded_to_the_tokens_of_generate(sliding_family):
    assert not graph.has_plain_attention(sliding_family.model)
    early = 0
    for seed in range(PROMPTS):
        letters, limit = np.random.default_rng(seed), 1 + seed % 10
        text = "".join(map(chr, letters.integers(97, 123, letters.integers(1, 60))))
        ids = torch.tensor([sliding_family.chat.alone(text)])
        expected = sliding_family.model.generate(
            ids, max_new_tokens=limit, do_sample=False, eos_token_id=list(MANY_ENDS), pad_token_id=0
        )
        found = generate_greedily(sliding_family, sliding_family.text_prompt(text), limit)
        assert torch.equal(found, expected[:, ids.shape[1] :]), seed
        early += found.shape[1] < limit
    assert 0 < early < PROMPTS


def test_tokens_are_those_of_generate(family, on_fixed_steps):
    early = 0
    for seed in range(PROMPTS):
        prompt, limit = random_prompt(seed), 1 + seed % 10
        ids = generate_greedily(family, prompt, limit)
        assert torch.equal(ids, by_generate(family, prompt, limit)), seed
        early += ids.shape[1] < limit
    assert 0 < early < PROMPTS


def test_prompts_in_pieces(family, on_fixed_steps, monkeypatch):
    # the last piece is of 1, 2, 15 and 16 positions
    prompts = [random_prompt(length, length, length) for length in (17, 33, 34, 47, 48)]
    whole = [by_generate(family, prompt, 8) for prompt in prompts]
    monkeypatch.setattr(steps, "PREFILL_CHUNK", 16)
    assert all(torch.equal(generate_greedily(family, p, 8), text) for p, text in zip(prompts, whole, strict=True))


@pytest.mark.parametrize("length", [1, 2])
def test_the_shortest_prompts(family, on_fixed_steps, length):
    for seed in range(4):
        prompt = random_prompt(seed, length, length)
        assert torch.equal(generate_greedily(family, prompt, 4), by_generate(family, prompt, 4))


@pytest.mark.parametrize("mode", ["deferred", "fused", "rescore"])
def test_scores_are_those_of_plain_steps(family, mode, monkeypatch):
    # a caption is fed again to the prompt's keys; a state of linear attention cannot be put back to the prompt
    refused = mode == "rescore" and fixed.LINEAR in fixed.layer_kinds(family.model.get_decoder().config)
    monkeypatch.setattr(family.model.generation_config, "eos_token_id", list(ENDS))
    with patch(family.model, layers="all", mode=mode) as handle:
        for seed in range(4):
            prompt, found = random_prompt(seed, 12, 60), []
            for begin in (greedy.begin_steps, fixed.FixedSteps):
                with monkeypatch.context() as patcher, handle.clip(prompt.columns, prompt_length=prompt.length):
                    patcher.setattr(greedy, "begin_steps", begin)
                    ids = generate_greedily(family, prompt, 9)
                    if refused:
                        with pytest.raises(InputError, match=r"linear .* use mode='deferred'"):
                            handle.scores(ids)
                        continue
                    found.append((ids, handle.scores(ids)))
            if refused:
                continue
            assert torch.equal(found[0][0], found[1][0])
            torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-5, atol=1e-8)


def attending(fixed_steps):
    return [layer for layer in fixed_steps._cache.layers if isinstance(layer, fixed.FixedLayer)]


def test_every_layer_attends_without_a_mask_and_no_further_than_it_is_filled(family, monkeypatch):
    asked = []
    real = rlivs_kernels.decode_attention

    def spy(query, key, value, *, key_lengths, **options):
        asked.append((tuple(query.shape), key.shape[2], int(key_lengths)))
        return real(query, key, value, key_lengths=key_lengths, **options)

    monkeypatch.setattr(rlivs_kernels, "decode_attention", spy)
    prompt = random_prompt(0, 20, 20)
    config = family.model.get_decoder().config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    with torch.no_grad():
        one = fixed.FixedSteps(family.model, prompt, 30)
        one.prefill()
        assert not asked
        for index in range(3):
            one.step()
            query = (1, config.num_attention_heads, 1, head_dim)
            assert asked == [(query, fixed.CACHE_BLOCK, 21 + index)] * fixed.layer_kinds(config).count(fixed.FULL)
            asked.clear()
        # beyond what is filled there may be anything
        for layer in attending(one):
            layer.keys[:, :, 23:] = layer.values[:, :, 23:] = 1e4
        one.step()
    plain = steps.Steps(family.model, prompt, greedy.DynamicCache(config=config))
    with torch.no_grad():
        plain.prefill()
        for _ in range(4):
            plain.step()
    assert torch.equal(plain.token, one.token)


class Seen(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes which operations run."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.operations.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("mode", ["deferred", "fused"])
def test_a_step_reads_nothing_back_and_keeps_its_tensors(family, mode, monkeypatch):
    # what serves a step on a CPU may read lengths; what serves it on a GPU is tested there
    monkeypatch.setattr(rlivs_kernels, "decode_attention", lambda query, *rest, **options: (query.clone(), None))
    prompt = random_prompt(0, 20, 20)
    with (
        patch(family.model, layers="all", mode=mode) as handle,
        handle.clip(slice(2, 9), prompt_length=20),
        torch.no_grad(),
    ):
        one = fixed.FixedSteps(family.model, prompt, 20)
        one.prefill()
        one.step()
        held = (one.token, one._position, one.fed.length, one.fed.lengths, one.fed.place)
        held += tuple(states for layer in attending(one) for states in (layer.keys, layer.values))
        linear = [layer for layer in one._cache.layers if not isinstance(layer, fixed.FixedLayer)]
        held += tuple(states[0] for layer in linear for states in (layer.conv_states, layer.recurrent_states))
        addresses, versions = [t.data_ptr() for t in held], [t._version for t in held]
        with Seen() as first:
            one.step()
        assert [t.data_ptr() for t in held] == addresses
        assert all(t._version > version for t, version in zip(held, versions, strict=True))
        with Seen() as second:
            one.step()
        handle.scores(torch.zeros(1, 4, dtype=torch.long))
    assert first.operations == second.operations
    # each of these waits for the device, or makes a tensor from host memory
    waits = {"_local_scalar_dense", "item", "nonzero", "lift_fresh", "lift", "equal", "is_nonzero"}
    assert not set(first.operations) & waits
    assert "index_copy_" in first.operations


# Of InternVL3.5, whose tiny model has another.
OTHER_DECODERS = {"qwen3": (Qwen3Config, {}), "qwen3_moe": (Qwen3MoeConfig, qwen3_vl_moe.EXPERTS)}


@pytest.mark.parametrize("name", OTHER_DECODERS)
def test_layers_of_other_language_models_in_fewer_operations(name):
    make_config, options = OTHER_DECODERS[name]
    torch.manual_seed(0)
    config = make_config(**text_options(tiny_tokenizer()), head_dim=8, **options)
    decoder = AutoModel.from_config(config).eval()
    assert sum(type(module).__name__ in ROTATING for module in decoder.modules()) == config.num_hidden_layers
    check_layers_in_fewer_operations(decoder)


def test_layers_are_what_they_were_in_fewer_operations(family):
    decoder = family.model.get_decoder()
    rotating = any(type(module).__name__ in ROTATING for module in decoder.modules())
    assert rotating == (family.model.config.model_type not in ROTATED_OTHERWISE)
    check_layers_in_fewer_operations(decoder)


def check_layers_in_fewer_operations(decoder):
    decoder, hidden, negations, outputs = copy.deepcopy(decoder), torch.randn(1, 1, 32), [], []
    for module in decoder.modules():
        if "RMSNorm" in type(module).__name__:
            module.weight.data.uniform_(0.5, 1.5)
    rotating = sum(type(module).__name__ in ROTATING for module in decoder.modules())
    positions = torch.tensor([[7]])
    if "mrope_section" in decoder.config.rope_parameters:
        positions = positions.expand(3, 1, 1)
    with torch.no_grad():
        rotary = decoder.rotary_emb(hidden, positions)
        for fewer in (False, True, False):
            with FewerOperations(decoder) if fewer else contextlib.nullcontext(), Seen() as seen:
                cache, state = greedy.DynamicCache(config=decoder.config), hidden
                for layer in decoder.layers:
                    state = layer(state, attention_mask=None, position_embeddings=rotary, past_key_values=cache)
                    state = state[0] if isinstance(state, tuple) else state
                outputs.append(decoder.norm(state))
            negations.append(seen.operations.count("neg"))
            assert ("roll" in seen.operations) == ("addcmul" in seen.operations) == (fewer and rotating > 0)
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-5, atol=1e-5)
    assert torch.equal(outputs[2], outputs[0])
    # queries and keys of a layer, and in their place the sines of a step once
    saved = 2 * rotating - 1 if rotating else 0
    assert negations == [negations[0], negations[0] - saved, negations[0]]
    assert not any("forward" in vars(module) for module in decoder.modules())


def test_what_others_have_wrapped_is_left_alone(backbone):
    decoder = backbone.model.get_decoder()
    wrapped = decoder.norm.forward
    decoder.norm.forward = wrapped
    with FewerOperations(decoder):
        assert decoder.norm.forward is wrapped
    assert decoder.norm.forward is wrapped
    del decoder.norm.forward


def test_a_longer_text_gets_a_longer_cache(backbone):
    lengths = []
    for length in (10, fixed.CACHE_BLOCK - 5, fixed.CACHE_BLOCK + 5):
        one = fixed.FixedSteps(backbone.model, Prompt(torch.randn(1, length, 32), slice(0, 1)), 5)
        with torch.no_grad():
            one.prefill()
        lengths.append(one._cache.layers[0].keys.shape[2])
    assert lengths == [fixed.CACHE_BLOCK, fixed.CACHE_BLOCK, 2 * fixed.CACHE_BLOCK]


def test_what_can_be_captured(backbone, monkeypatch):
    assert not graph.can_capture(backbone.model)
    config = backbone.model.get_decoder().config
    assert graph.has_plain_attention(backbone.model)
    for attention in ("eager", "flash_attention_2", "flex_attention"):
        monkeypatch.setattr(config, "_attn_implementation_internal", attention)
        assert not graph.has_plain_attention(backbone.model)
    monkeypatch.setattr(config, "_attn_implementation_internal", "sdpa")
    monkeypatch.setattr(config, "layer_types", ["full_attention", "sliding_attention"])
    assert not graph.has_plain_attention(backbone.model)
