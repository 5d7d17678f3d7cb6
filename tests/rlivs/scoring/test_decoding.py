"""Every way of decoding that transformers offers, and loops of one's own, against one eager pass."""

import threading

import pytest
import torch
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel, StaticCache

from rlivs.errors import InputError
from rlivs.scoring import patch

COLUMNS = slice(6, 15)
MODES = ["deferred", "fused", "rescore"]


@pytest.fixture
def pair(twins):
    return twins("qwen2", num_hidden_layers=4)


def generated(pair, handle, prompt, **options):
    """What generate returns for the prompt within a clip, and its scores."""
    with handle.clip(prompt.columns):
        out = pair.model.generate(prompt.ids, attention_mask=prompt.mask, **options)
    return out, handle.scores(out)


def check(pair, handle, scores, prompt, ids, columns, lengths, **options):
    expected = pair.expected(handle.layers, prompt.embeds, prompt.mask, ids, columns, lengths, **options)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("chunk", [29, 7, 1])
def test_chunked_prefill(pair, make_prompts, mode, chunk):
    """A chunk may end anywhere: in the columns, just before the last prompt row, or be one position long."""
    prompt = make_prompts(pair, 2)
    with patch(pair.model, mode=mode) as handle:
        with handle.clip(prompt.columns):
            out = pair.model.generate(
                prompt.ids, attention_mask=prompt.mask, max_new_tokens=6, do_sample=False, prefill_chunk_size=chunk
            )
        scores = handle.scores(out)
    check(pair, handle, scores, prompt, out[:, 30:], prompt.columns, [6, 6])


@pytest.mark.filterwarnings("ignore:mode='fused'")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("include_last_prompt_row", [True, False])
def test_prompt_lookup_decoding(pair, make_prompts, make_words, mode, include_last_prompt_row):
    """Guesses are fed with accepted tokens and taken back: only the rows of what was kept may count."""
    prompt = make_prompts(pair, 1)
    calls = []
    watch = pair.model.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    try:
        with patch(pair.model, mode=mode) as handle:
            with handle.clip(COLUMNS, include_last_prompt_row):
                out = pair.model.generate(
                    prompt.ids,
                    max_new_tokens=40,
                    do_sample=False,
                    prompt_lookup_num_tokens=3,
                    max_matching_ngram_size=1,
                )
            scores = handle.scores(out)
    finally:
        watch.remove()
    new = out.shape[1] - 30
    assert sum(calls) > 30 + new - 1, "no guess was taken back; choose another seed"
    check(pair, handle, scores, prompt, out[:, 30:], [COLUMNS], [new], include_last_prompt_row=include_last_prompt_row)


@pytest.fixture
def early_exit(pair):
    """Options of generate; transformers 5.17 cannot do it, with or without a tap, and leaves the model shortened."""
    options = {"max_new_tokens": 12, "do_sample": False, "assistant_early_exit": 2}
    depth = pair.model.config.num_hidden_layers
    try:
        pair.model.generate(torch.ones(1, 30, dtype=torch.long), **options)
    except TypeError:
        pair.model.config.num_hidden_layers = depth
        pytest.skip("this version of transformers cannot exit early")
    return options


@pytest.mark.filterwarnings("ignore:mode='fused'")
@pytest.mark.parametrize("mode", MODES)
def test_the_first_layers_as_an_assistant(pair, make_prompts, early_exit, mode):
    """generate calls generate: what the first layers guess with a cache of their own is no part of the clip."""
    prompt = make_prompts(pair, 1)
    for layers in ("auto", [0, 1]):
        with patch(pair.model, layers, mode) as handle:
            with handle.clip(COLUMNS):
                out = pair.model.generate(prompt.ids, **early_exit)
            scores = handle.scores(out)
        check(pair, handle, scores, prompt, out[:, 30:], [COLUMNS], [12])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batch", [1, 3])
def test_static_cache(pair, make_prompts, mode, batch):
    prompt = make_prompts(pair, batch)
    with patch(pair.model, mode=mode) as handle:
        for _ in range(2):
            with handle.clip(prompt.columns):
                out = pair.model.generate(
                    prompt.ids,
                    attention_mask=prompt.mask,
                    max_new_tokens=6,
                    do_sample=False,
                    cache_implementation="static",
                )
            scores = handle.scores(out)
            check(pair, handle, scores, prompt, out[:, 30:], prompt.columns, [6] * batch)


def test_static_cache_with_room_to_spare(pair, make_prompts):
    """What lies beyond the fed positions in a static cache is never looked at."""
    prompt = make_prompts(pair, 1)
    cache = StaticCache(config=pair.model.config, max_cache_len=200)
    with patch(pair.model) as handle:
        with handle.clip(COLUMNS):
            out = pair.model.generate(
                inputs_embeds=prompt.embeds, past_key_values=cache, max_new_tokens=6, do_sample=False
            )
        for layer in cache.layers:
            layer.keys[:, :, 35:] = torch.nan
        scores = handle.scores(out)
    check(pair, handle, scores, prompt, out, [COLUMNS], [6])


def greedy_loop(model, prompt, num_new, cache, feed_last=False):
    """What a user may write instead of generate."""
    ids, mask = [], prompt.mask
    inputs = {"inputs_embeds": prompt.embeds}
    position = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        for step in range(num_new + feed_last):
            out = model(**inputs, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True)
            if step == num_new:
                break
            ids.append(out.logits[:, -1:].argmax(-1))
            inputs = {"input_ids": ids[-1]}
            mask = torch.cat([mask, torch.ones_like(ids[-1])], 1)
            position = position[:, -1:] + 1
    return torch.cat(ids, 1)


@pytest.mark.parametrize("mode", ["deferred", "rescore"])
@pytest.mark.parametrize("static", [False, True])
def test_a_loop_of_ones_own(pair, make_prompts, mode, static):
    prompt = make_prompts(pair, 2)
    cache = StaticCache(config=pair.model.config, max_cache_len=64) if static else DynamicCache()
    with patch(pair.model, mode=mode) as handle:
        with handle.clip(prompt.columns):
            ids = greedy_loop(pair.model, prompt, 6, cache)
        scores = handle.scores(ids)
    check(pair, handle, scores, prompt, ids, prompt.columns, [6, 6])


def test_a_loop_that_feeds_its_last_token_gives_the_prompt_length(pair, make_prompts):
    prompt = make_prompts(pair, 1)
    with patch(pair.model) as handle:
        with handle.clip(COLUMNS, prompt_length=30):
            ids = greedy_loop(pair.model, prompt, 6, DynamicCache(), feed_last=True)
        scores = handle.scores(ids)
    check(pair, handle, scores, prompt, ids, [COLUMNS], [6])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("as_embeddings", [False, True])
def test_continuing_from_a_cached_prefix(pair, make_prompts, mode, as_embeddings):
    """Columns are positions of the whole prompt, the part that was cached earlier included."""
    prompt = make_prompts(pair, 2)
    cache = DynamicCache()
    with torch.no_grad():
        mask = prompt.mask[:, :20]
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        pair.model(prompt.ids[:, :20], attention_mask=mask, position_ids=positions, past_key_values=cache)
    inputs = {"inputs_embeds": prompt.embeds} if as_embeddings else {"input_ids": prompt.ids}
    with patch(pair.model, mode=mode) as handle:
        with handle.clip(prompt.columns):
            out = pair.model.generate(
                **inputs, attention_mask=prompt.mask, past_key_values=cache, max_new_tokens=5, do_sample=False
            )
        scores = handle.scores(out)
    check(pair, handle, scores, prompt, out[:, -5:], prompt.columns, [5, 5])


@pytest.mark.parametrize("returned", [1, 2])
def test_beam_search_is_rescored(pair, make_prompts, returned):
    prompt = make_prompts(pair, 2)
    options = {"max_new_tokens": 7, "num_beams": 3, "num_return_sequences": returned, "do_sample": False}
    with patch(pair.model, mode="rescore") as handle:
        with handle.clip(prompt.columns):
            out = pair.model.generate(inputs_embeds=prompt.embeds, attention_mask=prompt.mask, **options)
        scores = handle.scores(out)
    assert scores.shape == (2 * returned, 9)
    for index in range(2 * returned):
        row = slice(index // returned, index // returned + 1)
        expected = pair.expected(
            handle.layers, prompt.embeds[row], prompt.mask[row], out[index : index + 1], prompt.columns[row], [7]
        )
        torch.testing.assert_close(scores[index : index + 1], expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("mode", MODES)
def test_several_samples_of_each_prompt(pair, make_prompts, mode):
    prompt = make_prompts(pair, 2)
    torch.manual_seed(0)
    with patch(pair.model, mode=mode) as handle:
        options = {"do_sample": True, "num_return_sequences": 2, "return_dict_in_generate": True}
        out, scores = generated(pair, handle, prompt, max_new_tokens=5, **options)
    for index in range(4):
        row = slice(index // 2, index // 2 + 1)
        ids = out.sequences[index : index + 1, 30:]
        expected = pair.expected(handle.layers, prompt.embeds[row], prompt.mask[row], ids, prompt.columns[row], [5])
        torch.testing.assert_close(scores[index : index + 1], expected, rtol=1e-4, atol=0)


def test_rescoring_without_a_cache(pair, make_prompts):
    prompt = make_prompts(pair, 2)
    with patch(pair.model, mode="rescore") as handle:
        with handle.clip(prompt.columns):
            out = pair.model.generate(
                prompt.ids, attention_mask=prompt.mask, max_new_tokens=5, do_sample=False, use_cache=False
            )
        scores = handle.scores(out)
    check(pair, handle, scores, prompt, out[:, 30:], prompt.columns, [5, 5])


def test_rescoring_leaves_the_callers_cache_alone(pair, make_prompts):
    prompt = make_prompts(pair, 1)
    cache = DynamicCache()
    with patch(pair.model, mode="rescore") as handle:
        with handle.clip(COLUMNS):
            out = pair.model.generate(prompt.ids, past_key_values=cache, max_new_tokens=5, do_sample=False)
        keys = [layer.keys for layer in cache.layers]
        handle.scores(out)
    assert all(layer.keys is key for layer, key in zip(cache.layers, keys, strict=True))
    assert cache.get_seq_length() == 34


def test_the_last_generate_call_of_a_clip_counts(pair, make_prompts):
    prompt = make_prompts(pair, 1)
    with patch(pair.model) as handle:
        with handle.clip(COLUMNS):
            pair.model.generate(prompt.ids[:, :21], max_new_tokens=9, do_sample=False)
            out = pair.model.generate(prompt.ids, max_new_tokens=4, do_sample=False)
        scores = handle.scores(out)
    check(pair, handle, scores, prompt, out[:, 30:], [COLUMNS], [4])


@pytest.mark.parametrize("mode", MODES)
def test_scores_inside_the_clip(pair, make_prompts, mode):
    prompt = make_prompts(pair, 1)
    with patch(pair.model, mode=mode) as handle, handle.clip(COLUMNS):
        out = pair.model.generate(prompt.ids, max_new_tokens=4, do_sample=False)
        scores = handle.scores(out)
        check(pair, handle, scores, prompt, out[:, 30:], [COLUMNS], [4])


@pytest.mark.parametrize("mode", MODES)
def test_a_pause_is_no_part_of_the_clip(pair, make_prompts, make_words, mode):
    """Between two tokens the model may do something else, with a cache of its own."""
    prompt = make_prompts(pair, 1)

    class Interrupting:
        def put(self, ids):
            with handle.paused():
                pair.model.generate(make_words(1, 40, 5), max_new_tokens=3, do_sample=False)

        def end(self):
            pass

    with patch(pair.model, mode=mode) as handle:
        with handle.clip(COLUMNS):
            out = pair.model.generate(prompt.ids, max_new_tokens=6, do_sample=False, streamer=Interrupting())
        scores = handle.scores(out)
    check(pair, handle, scores, prompt, out[:, 30:], [COLUMNS], [6])


def in_another_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    return thread


@pytest.mark.parametrize("mode", MODES)
def test_another_thread_is_no_part_of_the_clip(pair, make_prompts, make_words, mode):
    """Between two tokens, and before the scores are read, it generates as many from a prompt as long."""
    prompt = make_prompts(pair, 1)

    def other():
        pair.model.generate(make_words(1, 30, 5), max_new_tokens=6, do_sample=False)

    class Interrupting:
        def put(self, ids):
            in_another_thread(other).join()

        def end(self):
            pass

    with patch(pair.model, mode=mode) as handle:
        with handle.clip(COLUMNS):
            out = pair.model.generate(prompt.ids, max_new_tokens=6, do_sample=False, streamer=Interrupting())
            in_another_thread(other).join()
        scores = handle.scores(out)
    check(pair, handle, scores, prompt, out[:, 30:], [COLUMNS], [6])


@pytest.mark.parametrize("mode", MODES)
def test_generating_in_another_thread(pair, make_prompts, make_words, mode):
    """As for a streamer that this thread reads from; of several calls the last one counts."""
    prompt, found = make_prompts(pair, 1), []
    with patch(pair.model, mode=mode) as handle:
        with handle.clip(COLUMNS):
            for ids in (make_words(1, 30, 5), prompt.ids):
                in_another_thread(
                    lambda ids=ids: found.append(pair.model.generate(ids, max_new_tokens=6, do_sample=False))
                ).join()
        scores = handle.scores(found[-1])
    check(pair, handle, scores, prompt, found[-1][:, 30:], [COLUMNS], [6])


def test_two_threads_beside_the_one_that_opened_the_clip(pair, make_prompts, make_words):
    """Which of them is meant cannot be known."""
    prompt, began, ended = make_prompts(pair, 1), threading.Event(), threading.Event()

    class Waiting:
        def put(self, ids):
            began.set()
            ended.wait(60)

        def end(self):
            pass

    def generate(ids, **options):
        return pair.model.generate(ids, max_new_tokens=6, do_sample=False, **options)

    with patch(pair.model) as handle, handle.clip(COLUMNS):
        thread = in_another_thread(lambda: generate(make_words(1, 30, 5), streamer=Waiting()))
        assert began.wait(60)
        try:
            with pytest.raises(InputError, match="another thread generates in this clip; wait for it"):
                generate(prompt.ids)
        finally:
            ended.set()
            thread.join()
        out = generate(prompt.ids)
        scores = handle.scores(out)
    check(pair, handle, scores, prompt, out[:, 30:], [COLUMNS], [6])


def test_layers_that_scale_differently(twins, make_prompts):
    """Layers that one kernel call cannot serve together are averaged all the same."""
    pair = twins("qwen2", num_hidden_layers=4)
    prompt = make_prompts(pair, 2)
    attentions = [model.model.layers[2].self_attn for model in (pair.model, pair.eager)]
    try:
        for attention in attentions:
            attention.scaling *= 1.5
        with patch(pair.model) as handle:
            with handle.clip(prompt.columns):
                out = pair.model.generate(prompt.ids, attention_mask=prompt.mask, max_new_tokens=5, do_sample=False)
            scores = handle.scores(out)
        check(pair, handle, scores, prompt, out[:, 30:], prompt.columns, [5, 5])
    finally:
        for attention in attentions:
            attention.scaling /= 1.5


def test_columns_up_to_the_last_prompt_position(pair, make_prompts):
    """The last prompt row sees itself, and may be a column too."""
    prompt = make_prompts(pair, 1)
    with patch(pair.model) as handle:
        with handle.clip(slice(0, 30)):
            out = pair.model.generate(prompt.ids, max_new_tokens=4, do_sample=False)
        scores = handle.scores(out)
    check(pair, handle, scores, prompt, out[:, 30:], [slice(0, 30)], [4])


def test_a_caption_of_one_token(pair, make_prompts):
    prompt = make_prompts(pair, 1)
    for mode in MODES:
        with patch(pair.model, mode=mode) as handle:
            with handle.clip(COLUMNS):
                out = pair.model.generate(prompt.ids, max_new_tokens=1, do_sample=False)
            scores = handle.scores(out)
        check(pair, handle, scores, prompt, out[:, 30:], [COLUMNS], [1])


@pytest.mark.parametrize("mode", MODES)
def test_no_prompt_but_the_token_that_begins_a_text(pair, mode):
    with patch(pair.model, mode=mode) as handle:
        with handle.clip(slice(0, 1)):
            out = pair.model.generate(bos_token_id=5, max_new_tokens=4, do_sample=False)
        scores = handle.scores(out)
    embeds, mask = pair.embed(out[:, :1]), torch.ones(1, 1, dtype=torch.long)
    expected = pair.expected(handle.layers, embeds, mask, out[:, 1:], [slice(0, 1)], [4])
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_inference_mode_and_none_by_turns(pair, make_prompts, mode, static):
    prompt = make_prompts(pair, 2)
    options = {"cache_implementation": "static"} if static else {}
    with patch(pair.model, mode=mode) as handle:
        for inference, num_new in ((True, 4), (False, 4), (True, 60), (False, 60)):
            with torch.inference_mode(inference):
                out, scores = generated(pair, handle, prompt, max_new_tokens=num_new, do_sample=False, **options)
            check(pair, handle, scores, prompt, out[:, 30:].clone(), prompt.columns, [num_new] * 2)


def test_rescoring_learned_positions_behind_padding(make_words):
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=80, n_embd=48, n_layer=2, n_head=6, initializer_range=0.3, pad_token_id=0, eos_token_id=None
    )
    model = GPT2LMHeadModel._from_config(config).eval()
    ids, mask = make_words(2, 20), torch.ones(2, 20, dtype=torch.long)
    mask[1, :6] = 0
    scores = {}
    for mode in ("deferred", "rescore"):
        with patch(model, "all", mode) as handle, handle.clip(slice(8, 15)):
            out = model.generate(ids, attention_mask=mask, max_new_tokens=5, do_sample=False)
            scores[mode] = handle.scores(out)
    torch.testing.assert_close(scores["rescore"], scores["deferred"], rtol=1e-4, atol=0)


@pytest.mark.parametrize("mode", MODES)
def test_guidance_runs_beside_the_caption(pair, make_prompts, make_words, mode):
    """The prompt of the other text is longer than the caption's own."""
    prompt = make_prompts(pair, 1)
    with patch(pair.model, mode=mode) as handle:
        options = {"guidance_scale": 1.5, "negative_prompt_ids": make_words(1, 50)}
        out, scores = generated(pair, handle, prompt, max_new_tokens=12, do_sample=False, **options)
    check(pair, handle, scores, prompt, out[:, 30:], prompt.columns, [12])


@pytest.mark.parametrize("mode", MODES)
def test_captions_that_a_criterion_ends(pair, make_prompts, mode):
    prompt = make_prompts(pair, 3)
    lengths = [2, 4, 6]

    def stop(ids, scores, **options):
        return torch.tensor([ids.shape[1] - 30 >= length for length in lengths])

    with patch(pair.model, mode=mode) as handle:
        options = {"eos_token_id": 79, "stopping_criteria": [stop]}
        out, scores = generated(pair, handle, prompt, max_new_tokens=8, do_sample=False, **options)
    assert (out[0, 32:] == 0).all()
    check(pair, handle, scores, prompt, out[:, 30:], prompt.columns, lengths)
