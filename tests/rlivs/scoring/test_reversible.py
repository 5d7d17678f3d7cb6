"""Patching changes no output and no configuration, and removal leaves the model as it was."""

import copy
import importlib.util
import json

import pytest
import torch
from transformers import AttentionInterface
from transformers.masking_utils import create_causal_mask

from rlivs.scoring import attention, patch

COLUMNS = slice(6, 15)


@pytest.fixture
def pair(twins):
    return twins("llava_onevision", num_hidden_layers=4)


def generate(pair, **options):
    return pair.model.generate(
        **pair.inputs, max_new_tokens=5, do_sample=False, output_logits=True, return_dict_in_generate=True, **options
    )


def state(model):
    """Everything about the modules that a user could see changed."""
    return [
        (
            name,
            id(module.config) if hasattr(module, "config") else None,
            sorted(vars(module)),
            len(module._forward_pre_hooks),
        )
        for name, module in model.named_modules()
    ]


def test_outputs_are_the_same_to_the_bit(pair):
    before = generate(pair)
    with patch(pair.model, layers="all") as handle:
        outside = generate(pair)
        with handle.clip(COLUMNS):
            inside = generate(pair)
    after = generate(pair)
    for out in (outside, inside, after):
        assert torch.equal(out.sequences, before.sequences)
        assert all(torch.equal(a, b) for a, b in zip(out.logits, before.logits, strict=True))


@pytest.mark.parametrize("mode", ["deferred", "fused", "rescore"])
def test_removal_restores_every_attribute(pair, mode):
    generate(pair)  # transformers itself notes things on a model that runs for the first time
    before = state(pair.model)
    handle = patch(pair.model, mode=mode)
    assert state(pair.model) != before
    with handle.clip(COLUMNS):
        out = generate(pair)
    handle.scores(out)
    handle.remove()
    assert state(pair.model) == before


def test_removal_after_an_error(pair):
    before = state(pair.model)
    with pytest.raises(KeyError), patch(pair.model) as handle, handle.clip(COLUMNS):
        raise KeyError
    assert state(pair.model) == before


def test_a_refused_patch_changes_nothing(pair):
    before = state(pair.model)
    with pytest.raises(ValueError):
        patch(pair.model, layers=[0, 9])
    assert state(pair.model) == before


def test_configuration_and_saved_files_are_untouched(pair, tmp_path):
    pair.model.save_pretrained(tmp_path / "before")
    before = copy.deepcopy(pair.model.config.to_dict())
    with patch(pair.model) as handle:
        with handle.clip(COLUMNS):
            generate(pair)
            pair.model.save_pretrained(tmp_path / "inside")
        assert pair.model.config.to_dict() == before
        assert pair.model.config._attn_implementation == "sdpa"
    names = sorted(path.name for path in (tmp_path / "before").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "inside").iterdir())
    for name in names:
        assert (tmp_path / "before" / name).read_bytes() == (tmp_path / "inside" / name).read_bytes()
    assert "rlivs" not in json.dumps(json.loads((tmp_path / "inside" / "config.json").read_text()))


def test_state_dict_has_no_new_entry(pair):
    before = list(pair.model.state_dict())
    with patch(pair.model) as handle, handle.clip(COLUMNS):
        generate(pair)
        assert list(pair.model.state_dict()) == before


def test_other_layers_keep_their_own_attention(pair):
    layers = pair.model.get_decoder().layers
    shared = layers[0].self_attn.config
    with patch(pair.model, layers=2):
        assert [layer.self_attn.config is shared for layer in layers] == [True, True, False, True]


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_mask_built_from_a_layers_configuration(twins, implementation):
    """Without an entry of ours among the mask functions it would silently be no mask, and padding would be seen."""
    model = twins("qwen2", implementation, num_hidden_layers=2).model
    padding = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    options = {"inputs_embeds": torch.zeros(2, 5, 48), "attention_mask": padding, "past_key_values": None}
    with patch(model):
        mask = create_causal_mask(config=model.model.layers[0].self_attn.config, **options)
    assert mask is not None
    assert torch.equal(mask, create_causal_mask(config=model.config, **options))


def test_a_patched_model_can_be_copied(pair):
    with patch(pair.model) as handle:
        copied = copy.deepcopy(pair.model)
        assert torch.equal(
            copied.generate(**pair.inputs, max_new_tokens=3), pair.model.generate(**pair.inputs, max_new_tokens=3)
        )
        assert handle.num_columns == 0


def test_nothing_is_kept_of_a_scored_clip(pair):
    with patch(pair.model) as handle:
        with handle.clip(COLUMNS):
            out = generate(pair)
        assert handle.num_columns == 9
        assert all(recorder.key is not None for recorder in handle._recorders)
        handle.scores(out)
        assert handle.num_columns == 0
        assert all(recorder.key is None for recorder in handle._recorders)


def test_generate_is_watched_only_inside_a_clip(pair):
    with patch(pair.model) as handle:
        assert "generate" not in vars(pair.model)
        with handle.clip(COLUMNS):
            assert "generate" in vars(pair.model)
        assert "generate" not in vars(pair.model)


def test_a_generate_of_the_models_own_comes_back(pair):
    own = pair.model.generate
    pair.model.generate = own
    try:
        with patch(pair.model) as handle, handle.clip(COLUMNS):
            generate(pair)
        assert pair.model.generate is own
    finally:
        del pair.model.generate


def test_import_registers_nothing(pair, monkeypatch):
    monkeypatch.delitem(AttentionInterface._global_mapping, attention.IMPLEMENTATION, raising=False)
    spec = importlib.util.find_spec("rlivs.scoring.attention")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert attention.IMPLEMENTATION not in AttentionInterface().valid_keys()
    with patch(pair.model):
        assert attention.IMPLEMENTATION in AttentionInterface().valid_keys()


def test_the_registered_name_avoids_those_transformers_treats_specially():
    assert not any(part in attention.IMPLEMENTATION for part in ("flash", "sdpa", "flex_attention", "/", "|"))


def test_a_model_in_training_mode_is_scored(pair):
    pair.model.train()
    try:
        with patch(pair.model) as handle:
            with handle.clip(COLUMNS):
                out = generate(pair)
            scores = handle.scores(out)
    finally:
        pair.model.eval()
    assert not scores.requires_grad and scores.isfinite().all()
