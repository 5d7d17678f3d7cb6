"""Steps that score as they attend: which ones do, and what happens to the others."""

import pytest
import torch
from transformers import DynamicCache, Gemma2Config, Gemma2ForCausalLM, StaticCache

import rlivs_kernels
from rlivs.scoring import patch

COLUMNS = slice(6, 15)
WARNING = "mode='fused' scores some rows after generation instead"


@pytest.fixture
def pair(twins):
    return twins("qwen2", num_hidden_layers=2)


@pytest.fixture
def prompt(pair, make_prompts):
    return make_prompts(pair, 1)


@pytest.fixture
def kernel_calls(monkeypatch):
    """Counts of both kernels' calls: steps, and rows that are scored afterwards."""
    calls = {"steps": 0, "rows": 0}
    decode, sums = rlivs_kernels.decode_attention, rlivs_kernels.attention_column_sums

    def counted_decode(*args, **options):
        calls["steps"] += 1
        return decode(*args, **options)

    def counted_sums(query, key, **options):
        calls["rows"] += query[0].shape[2]
        return sums(query, key, **options)

    monkeypatch.setattr(rlivs_kernels, "decode_attention", counted_decode)
    monkeypatch.setattr(rlivs_kernels, "attention_column_sums", counted_sums)
    return calls


def generate(pair, prompt, **options):
    return pair.model.generate(prompt.ids, max_new_tokens=6, do_sample=False, **options)


def check(pair, handle, scores, prompt, ids):
    expected = pair.expected(handle.layers, prompt.embeds, prompt.mask, ids, [COLUMNS], [ids.shape[1]])
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("cache", [None, "static"])
def test_every_step_is_scored_as_it_runs(pair, prompt, kernel_calls, cache, recwarn):
    """Only the last prompt row is left for afterwards; a second clip begins at zero."""
    with patch(pair.model, mode="fused") as handle:
        for clip in (1, 2):
            with handle.clip(COLUMNS):
                out = generate(pair, prompt, cache_implementation=cache)
            check(pair, handle, handle.scores(out), prompt, out[:, 30:])
            assert kernel_calls == {"steps": clip * 2 * 5, "rows": clip}
    assert not [warning for warning in recwarn if WARNING in str(warning.message)]


def test_prompt_lookup_falls_back_for_guesses(pair, prompt, kernel_calls):
    with patch(pair.model, mode="fused") as handle:
        with pytest.warns(UserWarning, match=f"{WARNING}.*several positions are fed at once") as warned:
            for _ in range(2):
                with handle.clip(COLUMNS):
                    out = pair.model.generate(
                        prompt.ids,
                        max_new_tokens=40,
                        do_sample=False,
                        prompt_lookup_num_tokens=3,
                        max_matching_ngram_size=1,
                    )
                check(pair, handle, handle.scores(out), prompt, out[:, 30:])
        assert len([warning for warning in warned if WARNING in str(warning.message)]) == 1
    assert kernel_calls["steps"] > 0


def greedy_loop(model, ids, num_new, cache):
    new = []
    with torch.no_grad():
        for _ in range(num_new):
            out = model(ids, past_key_values=cache, use_cache=True)
            ids = out.logits[:, -1:].argmax(-1)
            new.append(ids)
    return torch.cat(new, 1)


def test_an_unknown_prompt_length_falls_back(pair, prompt, kernel_calls):
    with patch(pair.model, mode="fused") as handle:
        with pytest.warns(UserWarning, match="the prompt's length is not known"), handle.clip(COLUMNS):
            ids = greedy_loop(pair.model, prompt.ids, 6, DynamicCache())
        check(pair, handle, handle.scores(ids), prompt, ids)
    assert kernel_calls["steps"] == 0


@pytest.mark.parametrize("static", [False, True])
def test_a_known_prompt_length_serves_a_loop_of_ones_own(pair, prompt, kernel_calls, static):
    cache = StaticCache(config=pair.model.config, max_cache_len=64) if static else DynamicCache()
    with patch(pair.model, mode="fused") as handle:
        with handle.clip(COLUMNS, prompt_length=30):
            ids = greedy_loop(pair.model, prompt.ids, 6, cache)
        # The loop ran on: the last three rows do not belong to this caption, so the sums that hold them are not used.
        check(pair, handle, handle.scores(ids[:, :3]), prompt, ids[:, :3])
    assert kernel_calls == {"steps": 10, "rows": 3}


def test_attention_with_a_softcap_falls_back(make_words, kernel_calls):
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=80,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        layer_types=["full_attention"] * 2,
        attn_logit_softcapping=2.0,
        initializer_range=0.5,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = Gemma2ForCausalLM._from_config(config, attn_implementation="eager").eval()
    ids, options = make_words(1, 30), {"max_new_tokens": 4, "do_sample": False, "return_dict_in_generate": True}
    truth = model.generate(ids, **options, output_attentions=True)
    expected = torch.stack([torch.stack(step)[..., -1, COLUMNS] for step in truth.attentions]).mean((0, 1, 3))
    for mode in ("deferred", "fused"):
        with patch(model, mode=mode) as handle, handle.clip(COLUMNS):
            if mode == "fused":
                with pytest.warns(UserWarning, match=f"{WARNING}.*softcap=2.0"):
                    out = model.generate(ids, **options)
            else:
                out = model.generate(ids, **options)
            torch.testing.assert_close(handle.scores(out), expected, rtol=1e-4, atol=0)
    assert kernel_calls["steps"] == 0


def test_attentions_asked_for_are_still_returned(twins, make_prompts):
    pair = twins("qwen2", "eager", num_hidden_layers=2)
    prompt = make_prompts(pair, 1)
    with patch(pair.model, mode="fused") as handle, handle.clip(COLUMNS):
        with pytest.warns(UserWarning, match="output_attentions=True"):
            out = generate(pair, prompt, output_attentions=True, return_dict_in_generate=True)
        check(pair, handle, handle.scores(out), prompt, out.sequences[:, 30:])
    assert all(weights is not None for step in out.attentions for weights in step)


@pytest.mark.filterwarnings("ignore:mode='fused'")
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
def test_going_back_over_scored_steps(pair, prompt, kernel_calls, static, at_once):
    """Sums that hold a step twice are given up for the kept rows."""
    cache = StaticCache(config=pair.model.config, max_cache_len=64) if static else DynamicCache()
    with patch(pair.model, mode="fused") as handle, handle.clip(COLUMNS, prompt_length=30):
        ids = greedy_loop(pair.model, prompt.ids, 6, cache)
        if static:
            for layer in cache.layers:
                layer.cumulative_length.sub_(2)
        else:
            cache.crop(-2)
        with torch.no_grad():
            for again in [ids[:, 3:5]] if at_once else [ids[:, 3:4], ids[:, 4:5]]:
                pair.model(again, past_key_values=cache, use_cache=True)
        check(pair, handle, handle.scores(ids), prompt, ids)
    assert kernel_calls["rows"] == 6


def test_steps_that_need_gradients_fall_back(pair, prompt, kernel_calls):
    """The fused kernel has no backward pass; the layer's own attention has."""
    with patch(pair.model, mode="fused") as handle, handle.clip(COLUMNS, prompt_length=30):
        cache = DynamicCache()
        with pytest.warns(UserWarning, match="gradients are asked for"):
            for ids in (prompt.ids, prompt.ids[:, :1]):
                out = pair.model(ids, past_key_values=cache, use_cache=True)
        assert out.logits.requires_grad
    assert kernel_calls["steps"] == 0


def test_tokens_are_those_of_the_layers_own_attention(pair, prompt):
    plain = generate(pair, prompt, output_logits=True, return_dict_in_generate=True)
    with patch(pair.model, layers="all", mode="fused") as handle, handle.clip(COLUMNS):
        out = generate(pair, prompt, output_logits=True, return_dict_in_generate=True)
    assert torch.equal(out.sequences, plain.sequences)
    torch.testing.assert_close(torch.stack(out.logits), torch.stack(plain.logits), rtol=1e-4, atol=1e-4)
