"""Scores against eager attention in float32: group sizes, batches, ragged captions, attention implementations."""

import pytest
import torch

import rlivs_kernels
from rlivs.scoring import patch

GROUPS = {1: (4, 4), 2: (4, 2), 7: (7, 1)}
MODES = ["deferred", "fused", "rescore"]


def group_twins(twins, group, implementation="sdpa"):
    heads, kv_heads = GROUPS[group]
    return twins(
        "llava_onevision",
        implementation,
        num_hidden_layers=5,
        hidden_size=8 * heads,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
    )


def assert_same(scores, expected, k=3):
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=0)
    assert torch.equal(rlivs_kernels.select_top_tokens(scores, k), rlivs_kernels.select_top_tokens(expected, k))


def free_run(pair, prompt, **options):
    """Ids of a run that nothing stops."""
    return pair.model.generate(
        inputs_embeds=prompt.embeds, attention_mask=prompt.mask, max_new_tokens=8, do_sample=False, **options
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("include_last_prompt_row", [True, False])
@pytest.mark.parametrize("group", GROUPS)
def test_one_caption(twins, make_prompts, group, include_last_prompt_row, mode):
    pair = group_twins(twins, group)
    prompt = make_prompts(pair, 1)
    with patch(pair.model, mode=mode) as handle:
        with handle.clip(prompt.columns[0], include_last_prompt_row):
            ids = free_run(pair, prompt)
        scores = handle.scores(ids)
    expected = pair.expected(
        handle.layers, prompt.embeds, prompt.mask, ids, prompt.columns, [8], include_last_prompt_row
    )
    assert_same(scores, expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("include_last_prompt_row", [True, False])
def test_lengths_say_where_captions_end(twins, make_prompts, include_last_prompt_row, mode):
    pair = group_twins(twins, 7)
    prompt, lengths = make_prompts(pair, 3), [8, 1, 5]
    with patch(pair.model, mode=mode) as handle:
        # Where keys start is said, too, where it is not read from the mask.
        starts = {} if mode == "rescore" else {"key_starts": [0, 3, 6]}
        with handle.clip(prompt.columns, include_last_prompt_row, **starts):
            ids = free_run(pair, prompt)
        scores = handle.scores(ids, lengths)
    expected = pair.expected(
        handle.layers, prompt.embeds, prompt.mask, ids, prompt.columns, lengths, include_last_prompt_row
    )
    assert_same(scores, expected)


@pytest.mark.parametrize("mode", MODES)
def test_a_caption_of_one_token_is_scored_by_the_row_that_produced_it(twins, make_prompts, mode):
    pair = group_twins(twins, 7)
    prompt = make_prompts(pair, 2)
    with patch(pair.model, mode=mode) as handle:
        with handle.clip(prompt.columns, include_last_prompt_row=False):
            ids = pair.model.generate(inputs_embeds=prompt.embeds, attention_mask=prompt.mask, max_new_tokens=1)
        scores = handle.scores(ids)
    assert_same(scores, pair.expected(handle.layers, prompt.embeds, prompt.mask, ids, prompt.columns, [1, 1]))


def test_a_prompt_that_ran_before_the_clip_lacks_only_its_own_row(twins, make_prompts):
    pair = group_twins(twins, 7)
    prompt = make_prompts(pair, 1)
    ids = prompt.ids[:, :4]
    with patch(pair.model) as handle, torch.no_grad():
        cache = pair.model(prompt.ids, use_cache=True).past_key_values
        with handle.clip(prompt.columns, include_last_prompt_row=False, prompt_length=30):
            pair.model(ids[:, :3], past_key_values=cache)
        scores = handle.scores(ids)
    assert_same(scores, pair.expected(handle.layers, prompt.embeds, prompt.mask, ids, prompt.columns, [4], False))


def ragged(ids):
    """An end-of-sequence token that ends the rows at different places, and the lengths of the captions it leaves."""
    for token in ids[:, :4].flatten().tolist():
        ends = [row.index(token) + 1 if token in row else len(row) for row in ids.tolist()]
        if len(set(ends)) > 1:
            return token, ends
    raise AssertionError("no token ends the captions at different places; choose another seed")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("include_last_prompt_row", [True, False])
@pytest.mark.parametrize("group", GROUPS)
def test_left_padded_batch_of_ragged_captions(twins, make_prompts, group, include_last_prompt_row, mode):
    pair = group_twins(twins, group)
    prompt = make_prompts(pair, 3)
    token, lengths = ragged(free_run(pair, prompt))
    with patch(pair.model, mode=mode) as handle:
        with handle.clip(prompt.columns, include_last_prompt_row):
            ids = free_run(pair, prompt, eos_token_id=token)
        scores = handle.scores(ids)
    expected = pair.expected(
        handle.layers, prompt.embeds, prompt.mask, ids, prompt.columns, lengths, include_last_prompt_row
    )
    assert_same(scores, expected)


@pytest.mark.parametrize("implementation", ["sdpa", "eager", "flex_attention"])
def test_every_underlying_attention(twins, make_prompts, implementation):
    pair = group_twins(twins, 7, implementation)
    prompt = make_prompts(pair, 2)
    # Uncompiled, flex attention takes the same path through transformers without a minute of compilation.
    with torch.compiler.set_stance("force_eager"), patch(pair.model) as handle:
        with handle.clip(prompt.columns):
            ids = free_run(pair, prompt)
        scores = handle.scores(ids)
    assert_same(scores, pair.expected(handle.layers, prompt.embeds, prompt.mask, ids, prompt.columns, [8, 8]))


def test_one_slice_serves_all_rows(twins, make_prompts):
    pair = group_twins(twins, 2)
    prompt = make_prompts(pair, 2)
    with patch(pair.model) as handle:
        with handle.clip(slice(10, 20)):
            ids = free_run(pair, prompt)
        scores = handle.scores(ids)
    expected = pair.expected(handle.layers, prompt.embeds, prompt.mask, ids, [slice(10, 20)] * 2, [8, 8])
    assert_same(scores, expected)


def test_two_runs_agree_to_the_bit(twins, make_prompts):
    pair = group_twins(twins, 7)
    prompt = make_prompts(pair, 3)
    runs = []
    with patch(pair.model) as handle:
        for _ in range(2):
            with handle.clip(prompt.columns):
                ids = free_run(pair, prompt)
            runs.append(handle.scores(ids))
    assert torch.equal(*runs)


def test_a_memory_prefix_does_not_shift_columns(twins, make_prompts, make_words):
    """The same columns, moved by what stands before them, are scored where they now are."""
    pair = group_twins(twins, 2)
    prompt = make_prompts(pair, 1)
    memory = pair.embed(make_words(1, 11, 9)).detach()
    embeds = torch.cat([prompt.embeds[:, :6], memory, prompt.embeds[:, 6:]], 1)
    mask = torch.ones(1, embeds.shape[1], dtype=torch.long)
    with patch(pair.model) as handle:
        with handle.clip(slice(17, 26)):
            ids = pair.model.generate(inputs_embeds=embeds, attention_mask=mask, max_new_tokens=6, do_sample=False)
        scores = handle.scores(ids)
    assert_same(scores, pair.expected(handle.layers, embeds, mask, ids, [slice(17, 26)], [6]))


def test_ids_and_embeddings_give_the_same(twins, make_prompts):
    """generate returns the prompt with the new ids when it was given ids, and only the new ids after embeddings."""
    pair = group_twins(twins, 2)
    prompt = make_prompts(pair, 2)
    options = {"attention_mask": prompt.mask, "max_new_tokens": 5, "do_sample": False}
    results = {}
    with patch(pair.model) as handle:
        for name, inputs in (("ids", {"input_ids": prompt.ids}), ("embeds", {"inputs_embeds": prompt.embeds})):
            with handle.clip(prompt.columns):
                out = pair.model.generate(**inputs, **options, return_dict_in_generate=True)
            assert out.sequences.shape[1] == (35 if name == "ids" else 5)
            results[name] = handle.scores(out)
    torch.testing.assert_close(results["ids"], results["embeds"], rtol=1e-5, atol=0)


def test_half_precision_is_scored_in_float32(twins, make_prompts):
    pair = group_twins(twins, 7)
    prompt = make_prompts(pair, 1)
    pair.model.bfloat16()
    try:
        with patch(pair.model) as handle:
            with handle.clip(prompt.columns):
                ids = pair.model.generate(inputs_embeds=prompt.embeds.bfloat16(), max_new_tokens=6, do_sample=False)
            scores = handle.scores(ids)
    finally:
        pair.model.float()
        pair.model.load_state_dict(pair.eager.state_dict())
    expected = pair.expected(handle.layers, prompt.embeds, prompt.mask, ids, prompt.columns, [6])
    assert scores.dtype == torch.float32
    # bfloat16 keeps 8 bits; the model's own rounding, not the scoring's, is what remains.
    torch.testing.assert_close(scores, expected, rtol=0.1, atol=0.1 * float(expected.mean()))
