"""What cannot be scored is refused, and the message names the cure."""

import sys

import pytest
import torch
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertLMHeadModel,
    DynamicCache,
    GenerationConfig,
    GptOssConfig,
    GptOssForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import flash_attention_mask, sdpa_mask

from rlivs.errors import InputError
from rlivs.scoring import patch

COLUMNS = slice(6, 15)


@pytest.fixture
def pair(twins):
    return twins("qwen2", num_hidden_layers=2)


@pytest.fixture
def prompt(pair, make_prompts):
    return make_prompts(pair, 1)


def generate(pair, prompt, num_new=4, **options):
    return pair.model.generate(prompt.ids, max_new_tokens=num_new, do_sample=False, **options)


def test_transformers_too_old(pair, monkeypatch):
    monkeypatch.setattr(sys.modules["rlivs.scoring.patch"], "TRANSFORMERS", "5.16.2")
    with pytest.raises(InputError, match=r"transformers 5.16.2 is too old; install transformers>=5.17.0"):
        patch(pair.model)


def test_an_unknown_mode(pair):
    with pytest.raises(InputError, match="mode 'eager' is not available; choose one of deferred, "):
        patch(pair.model, mode="eager")


def test_patched_twice(pair):
    with patch(pair.model, layers=0):
        for layers in (0, 1):
            with pytest.raises(InputError, match=r"patched already; call remove\(\)"):
                patch(pair.model, layers=layers)
    with patch(pair.model):
        pass


def test_attention_changed_after_patching(pair, prompt):
    with patch(pair.model) as handle:
        try:
            pair.model.set_attn_implementation("eager")
            with pytest.raises(
                InputError, match=r"changed from 'sdpa' to 'eager' after patching; call remove\(\) first"
            ):
                generate(pair, prompt)
            with pytest.raises(InputError, match="changed from 'sdpa' to 'eager'"), handle.clip(COLUMNS):
                raise AssertionError("the clip was opened")
        finally:
            pair.model.set_attn_implementation("sdpa")


def test_attention_of_a_patched_layer_changed(pair):
    with patch(pair.model) as handle:
        pair.model.model.layers[0].self_attn.config._attn_implementation_internal = "eager"
        with pytest.raises(InputError, match="changed from 'sdpa' to 'eager'"), handle.clip(COLUMNS):
            raise AssertionError("the clip was opened")


@pytest.mark.parametrize("how", ["argument", "given configuration", "the model's configuration"])
def test_beams_outside_rescore(pair, prompt, how, monkeypatch):
    options = {}
    if how == "argument":
        options = {"num_beams": 2}
    elif how == "given configuration":
        options = {"generation_config": GenerationConfig(num_beams=2)}
    else:
        monkeypatch.setattr(pair.model.generation_config, "num_beams", 2)
    with (
        patch(pair.model) as handle,
        pytest.raises(InputError, match=r"beam search.*mode='rescore', or use num_beams=1"),
        handle.clip(COLUMNS),
    ):
        generate(pair, prompt, **options)


def test_no_cache_outside_rescore(pair, prompt):
    cure = "pass use_cache=True, or patch with mode='rescore'"
    with patch(pair.model) as handle:
        with pytest.raises(InputError, match=cure), handle.clip(COLUMNS):
            generate(pair, prompt, use_cache=False)
        with pytest.raises(InputError, match=cure), handle.clip(COLUMNS), torch.no_grad():
            pair.model(prompt.ids, use_cache=False)


def test_beams_without_a_cache(pair, prompt):
    with patch(pair.model, mode="rescore") as handle:
        with handle.clip(COLUMNS):
            out = generate(pair, prompt, num_beams=2, use_cache=False)
        with pytest.raises(InputError, match=r"beam search without a KV cache.*use_cache=True"):
            handle.scores(out)


def test_scores_before_generate(pair, prompt):
    out = prompt.ids
    with patch(pair.model) as handle:
        with pytest.raises(InputError, match="nothing to score; generate inside"):
            handle.scores(out)
        with handle.clip(COLUMNS), pytest.raises(InputError, match="nothing to score; generate inside"):
            handle.scores(out)
        out = generate(pair, prompt)
        with pytest.raises(InputError, match="nothing to score; generate inside"):
            handle.scores(out)


def test_scores_are_taken_once(pair, prompt):
    with patch(pair.model) as handle:
        with handle.clip(COLUMNS):
            out = generate(pair, prompt)
        handle.scores(out)
        with pytest.raises(InputError, match="then call scores once"):
            handle.scores(out)


def test_a_failed_clip_leaves_nothing_to_score(pair, prompt):
    with patch(pair.model) as handle:
        with pytest.raises(KeyError), handle.clip(COLUMNS):
            out = generate(pair, prompt)
            raise KeyError
        with pytest.raises(InputError, match="nothing to score"):
            handle.scores(out)


def test_no_caption_token(pair, prompt):
    with patch(pair.model) as handle:
        with handle.clip(COLUMNS, prompt_length=30), torch.no_grad():
            pair.model(prompt.ids, use_cache=True)
        with pytest.raises(InputError, match="no caption token to score; generate at least one"):
            handle.scores(prompt.ids[:, :0])


def test_columns_beyond_the_prompt(pair, prompt):
    message = "columns end at 31, beyond the prompt of 30 positions"
    with patch(pair.model) as handle:
        with pytest.raises(InputError, match=message), handle.clip(slice(20, 31)):
            generate(pair, prompt)
        with pytest.raises(InputError, match=message), handle.clip([slice(0, 11), slice(20, 31)], prompt_length=30):
            raise AssertionError("the clip was opened")
        with handle.clip(slice(20, 31)), torch.no_grad():
            out = pair.model(prompt.ids, use_cache=True)
            out = pair.model(prompt.ids[:, :1], past_key_values=out.past_key_values, use_cache=True)
        with pytest.raises(InputError, match=message):
            handle.scores(prompt.ids[:, :2])


@pytest.mark.parametrize("columns", [slice(3, 3), slice(-4, -1), slice(2, None), slice(0, 8, 2), [slice(5, 2)]])
def test_columns_that_are_no_range(pair, columns):
    message = r"give slice\(a, b\) with 0 <= a < b"
    with patch(pair.model) as handle, pytest.raises(InputError, match=message), handle.clip(columns):
        raise AssertionError("the clip was opened")


@pytest.mark.parametrize("columns", [[], [slice(0, 4), slice(1, 6)]])
def test_columns_of_different_lengths(pair, columns):
    message = "all of the same length"
    with patch(pair.model) as handle, pytest.raises(InputError, match=message), handle.clip(columns):
        raise AssertionError("the clip was opened")


def test_a_slice_for_every_row_or_for_one(pair, make_prompts):
    with patch(pair.model) as handle:
        with handle.clip([slice(0, 4), slice(1, 5)]):
            out = generate(pair, make_prompts(pair, 3))
        with pytest.raises(InputError, match="2 slices for 3 captions; give one, or one a batch row"):
            handle.scores(out)


def test_ids_that_generate_did_not_return(pair, prompt):
    with patch(pair.model) as handle:
        with handle.clip(COLUMNS):
            out = generate(pair, prompt)
        with pytest.raises(InputError, match="got 32 ids a row, generate returned 34; pass its output as it is"):
            handle.scores(out[:, :-2])
        with pytest.raises(InputError, match="got 2 captions but the model ran 1"):
            handle.scores(out.repeat(2, 1))
        with pytest.raises(InputError, match=r"as a tensor \[B, N\]"):
            handle.scores(out.tolist())
        assert handle.scores(out).shape == (1, 9)


@pytest.mark.parametrize("lengths", [[4, 4], [0], [5], []])
def test_lengths_that_the_ids_do_not_have(pair, prompt, lengths):
    with patch(pair.model) as handle:
        with handle.clip(COLUMNS):
            out = generate(pair, prompt)
        with pytest.raises(InputError, match=r"do not fit ids \[1, 4\]; give one a row, 1 to 4"):
            handle.scores(out, lengths)


def test_key_starts_that_are_not_one_a_row(pair, prompt):
    with patch(pair.model) as handle:
        with handle.clip(COLUMNS, key_starts=[0, 3]):
            out = generate(pair, prompt)
        with pytest.raises(InputError, match="key_starts has 2 entries for 1 rows; give one a batch row"):
            handle.scores(out)
    with (
        patch(pair.model, mode="rescore") as handle,
        pytest.raises(InputError, match="leave key_starts out"),
        handle.clip(COLUMNS, key_starts=[0]),
    ):
        raise AssertionError("the clip was opened")


def test_the_prompts_end_ran_outside_the_clip(pair, prompt):
    cache = DynamicCache()
    with patch(pair.model) as handle, torch.no_grad():
        pair.model(prompt.ids, past_key_values=cache, use_cache=True)
        with handle.clip(COLUMNS, prompt_length=30):
            pair.model(prompt.ids[:, :1], past_key_values=cache, use_cache=True)
        with pytest.raises(InputError, match="run the prompt's end inside it"):
            handle.scores(prompt.ids[:, :2])


def test_one_clip_at_a_time(pair):
    message = "a clip is open already"
    with (
        patch(pair.model) as handle,
        handle.clip(COLUMNS),
        pytest.raises(InputError, match=message),
        handle.clip(COLUMNS),
    ):
        raise AssertionError("the clip was opened")


def test_a_removed_handle(pair):
    handle = patch(pair.model)
    handle.remove()
    handle.remove()
    with pytest.raises(InputError, match="this handle was removed; patch the model again"), handle.clip(COLUMNS):
        raise AssertionError("the clip was opened")


def test_masks_that_are_not_left_padding(pair, prompt):
    mask = torch.ones_like(prompt.ids)
    mask[0, 20:22] = 0
    with patch(pair.model) as handle:
        with handle.clip(COLUMNS):
            out = generate(pair, prompt, attention_mask=mask)
        with pytest.raises(InputError, match="pad on the left and pass a 2D attention_mask"):
            handle.scores(out)


@pytest.mark.parametrize("seen", [slice(3, None), slice(None, 3)])
def test_a_layer_with_a_mask_of_its_own(pair, prompt, seen):
    mask = torch.zeros(1, 1, 30, 30, dtype=torch.bool)
    mask[..., seen] = True
    attention = pair.model.model.layers[1].self_attn
    own = {"attention_mask": mask}
    hook = attention.register_forward_pre_hook(lambda _, args, kwargs: (args, {**kwargs, **own}), with_kwargs=True)
    try:
        with patch(pair.model) as handle, torch.no_grad():
            with handle.clip(COLUMNS, prompt_length=30):
                logits = pair.model(prompt.ids, use_cache=True).logits
            with pytest.raises(InputError, match=r"layer 1 has an attention mask of its own|hides keys in the middle"):
                handle.scores(logits[:, -1:].argmax(-1))
    finally:
        hook.remove()


def test_a_bidirectional_mask(pair, prompt):
    mask = torch.ones(1, 1, 30, 30, dtype=torch.bool)
    mask[..., :-1, -1] = False
    mask[..., -1, 3] = False
    with patch(pair.model) as handle:
        with handle.clip(COLUMNS), torch.no_grad():
            out = pair.model(prompt.ids, attention_mask=mask, use_cache=True)
        with pytest.raises(InputError, match="pad on the left and pass a 2D attention_mask"):
            handle.scores(out.logits[:, -1:].argmax(-1))


def test_a_window_that_the_attention_class_does_not_announce(pair, prompt):
    """What the attention function is told at run time counts too."""
    tiny = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1}
    model = MistralForCausalLM(MistralConfig(vocab_size=80, num_hidden_layers=2, sliding_window=None, **tiny))
    with patch(model, layers=0) as handle:
        model.config.sliding_window = 16
        model.model.layers[0].self_attn.config.sliding_window = 16
        with pytest.raises(InputError, match="layer 0 attends to a sliding window"), handle.clip(COLUMNS):
            model.generate(prompt.ids, max_new_tokens=2, do_sample=False)


def test_attention_sinks(prompt):
    """Sinks take a share of the softmax that is no key's."""
    config = GptOssConfig(
        vocab_size=80,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        num_local_experts=2,
        num_experts_per_tok=1,
        layer_types=["sliding_attention", "full_attention"],
        pad_token_id=0,
        eos_token_id=None,
    )
    model = GptOssForCausalLM._from_config(config, attn_implementation="eager").eval()
    with patch(model) as handle, pytest.raises(InputError, match="layer 1 changes its attention by 's_aux'"):
        assert handle.layers == (1,)
        with handle.clip(COLUMNS):
            model.generate(prompt.ids, max_new_tokens=2, do_sample=False)


def test_a_cache_that_drops_keys(pair, prompt):
    class Evicting(DynamicCache):
        def update(self, key, value, index, *args, **kwargs):
            key, value = super().update(key, value, index, *args, **kwargs)
            return (key, value) if key.shape[2] <= 31 else (key[:, :, -31:], value[:, :, -31:])

    with (
        patch(pair.model) as handle,
        pytest.raises(InputError, match="cache holds 31 of 32 keys; use a cache that keeps all of them"),
        handle.clip(COLUMNS),
        torch.no_grad(),
    ):
        cache = Evicting()
        for ids in (prompt.ids, prompt.ids[:, :1], prompt.ids[:, :1]):
            pair.model(ids, past_key_values=cache, use_cache=True)


def test_a_cache_that_cannot_be_fed_again(twins):
    """Gemma3's sliding layers have dropped the prompt by the end of the caption."""
    pair = twins("gemma3")
    with patch(pair.model, mode="rescore") as handle:
        with handle.clip(pair.columns):
            out = pair.model.generate(**pair.inputs, max_new_tokens=3, do_sample=False)
        with pytest.raises(InputError, match=r"layer 0's cache no longer holds the prompt.*mode='deferred'"):
            handle.scores(out)


def test_a_cache_that_holds_more_than_keys(pair, prompt):
    """A layer of attention beside a state space: its state after the prompt is no longer there."""
    with patch(pair.model, mode="rescore") as handle:
        with handle.clip(COLUMNS):
            cache = DynamicCache()
            out = generate(pair, prompt, past_key_values=cache)
        cache.layers[1].conv_states = {}
        with pytest.raises(InputError, match=r"layer 1's cache no longer holds the prompt.*mode='deferred'"):
            handle.scores(out)


def test_a_cache_with_keys_of_something_else(pair, prompt):
    """Of an image, in a layer of cross attention: there are more of them than positions of the prompt."""
    with patch(pair.model, layers=0, mode="rescore") as handle:
        with handle.clip(COLUMNS):
            cache = DynamicCache()
            out = generate(pair, prompt, past_key_values=cache)
        cache.layers[1].keys, cache.layers[1].values = torch.zeros(2, 1, 2, 99, 8)
        with pytest.raises(InputError, match=r"layer 1's cache no longer holds the prompt.*mode='deferred'"):
            handle.scores(out)


called: list[int] = []


def counting(module, *args, **kwargs):
    """Attention of a user's own that, as FlashAttention does, looks up its name in the module's configuration."""
    assert module.config._attn_implementation == "counting"
    called.append(module.layer_idx)
    return sdpa_attention_forward(module, *args, **kwargs)


def padding_only(module, query, key, value, attention_mask, **kwargs):
    """Attention that is given the 2D padding mask, as FlashAttention is, and is causal by itself."""
    assert attention_mask.dim() == 2
    row = torch.arange(key.shape[2])[-query.shape[2] :, None]
    mask = (torch.arange(key.shape[2]) <= row) & attention_mask[:, None, None].bool()
    # Rows of padding see themselves, or they would be no number.
    mask = mask | (torch.arange(key.shape[2]) == row)
    return sdpa_attention_forward(module, query, key, value, mask, **kwargs)


@pytest.mark.parametrize(("function", "mask"), [(counting, sdpa_mask), (padding_only, flash_attention_mask)])
def test_an_implementation_of_the_users_own_is_scored_over(pair, make_prompts, function, mask):
    name = function.__name__
    AttentionInterface.register(name, function)
    AttentionMaskInterface.register(name, mask)
    prompt, results = make_prompts(pair, 2), []
    called.clear()
    try:
        for implementation in (name, "sdpa"):
            pair.model.set_attn_implementation(implementation)
            with patch(pair.model, layers=1) as handle:
                with handle.clip(prompt.columns):
                    out = generate(pair, prompt, attention_mask=prompt.mask)
                results.append(handle.scores(out))
    finally:
        pair.model.set_attn_implementation("sdpa")
    assert called == ([0, 1] * 4 if function is counting else [])
    torch.testing.assert_close(*results, rtol=1e-5, atol=0)


@pytest.mark.parametrize("columns", [None, 5, (3, 7), range(3, 7), torch.tensor([3, 7]), "3:7"])
def test_columns_of_another_kind(pair, columns):
    refused = pytest.raises(InputError, match=r"give slice\(a, b\), or a list")
    with patch(pair.model) as handle, refused, handle.clip(columns):
        pass


def test_a_mask_that_adds_to_the_logits(pair, prompt):
    mask = torch.zeros(1, 1, 30, 30).masked_fill_(torch.ones(30, 30).triu(1).bool(), torch.finfo(torch.float32).min)
    mask[..., 8:12] -= 3
    with patch(pair.model) as handle, torch.no_grad(), handle.clip(COLUMNS, prompt_length=30):
        logits = pair.model(input_ids=prompt.ids, attention_mask=mask).logits
        with pytest.raises(InputError, match="adds to the logits"):
            handle.scores(logits[:, -1:].argmax(-1))


def test_ids_of_some_rows_only(pair, make_prompts):
    prompt = make_prompts(pair, 3)
    with patch(pair.model, mode="rescore") as handle:
        with handle.clip(prompt.columns):
            out = pair.model.generate(prompt.ids, attention_mask=prompt.mask, max_new_tokens=4, do_sample=False)
        with pytest.raises(InputError, match="got 2 captions but the model ran 3"):
            handle.scores(out[1:])


def test_models_that_are_no_decoder():
    small = {"vocab_size": 80, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    with pytest.raises(InputError, match="only causal attention"):
        patch(BertLMHeadModel(BertConfig(**small, intermediate_size=32)))
    with pytest.raises(InputError, match="has an encoder"):
        patch(BartForConditionalGeneration(BartConfig(vocab_size=80, d_model=32, encoder_layers=1, decoder_layers=1)))
    with pytest.raises(InputError, match="is no model"):
        patch("llava-hf/llava-onevision-qwen2-7b-ov-hf")
