"""Decoding steps compiled over a static cache: one graph, no breaks, the same for every clip."""

import copy

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from transformers import StaticCache
from transformers.masking_utils import create_masks_for_generate

from rlivs.scoring import patch


@pytest.mark.parametrize("mode", ["deferred", "fused"])
def test_one_graph_serves_every_clip(twins, make_words, mode):
    pair = twins("qwen2", num_hidden_layers=2)
    model, config = pair.model, pair.model.config
    counter = CompileCounter()
    step = torch.compile(model.forward, backend=counter, fullgraph=True, dynamic=False)
    cache = StaticCache(config=config, max_cache_len=64)

    def caption(ids, num_new):
        cache.reset()
        new = [model(ids, past_key_values=cache, use_cache=True).logits[:, -1:].argmax(-1)]
        for position in range(ids.shape[1], ids.shape[1] + num_new - 1):
            mask = create_masks_for_generate(
                config=config, inputs_embeds=torch.empty(1, 1, 0), attention_mask=None, past_key_values=cache
            )
            position_ids = torch.tensor([[position]])
            out = step(new[-1], position_ids=position_ids, attention_mask=mask, past_key_values=cache, use_cache=True)
            new.append(out.logits.argmax(-1))
        return torch.cat(new, 1)

    try:
        with patch(model, layers="all", mode=mode) as handle, torch.no_grad():
            for length, columns in ((20, slice(5, 12)), (25, slice(6, 13)), (30, slice(8, 15))):
                ids = make_words(1, length, seed=length)
                with handle.clip(columns, prompt_length=length):
                    new = caption(ids, 6)
                scores = handle.scores(new)
                mask = torch.ones_like(ids)
                expected = pair.expected(handle.layers, pair.embed(ids), mask, new, [columns], [6])
                torch.testing.assert_close(scores, expected, rtol=1e-4, atol=0)
                assert counter.frame_count == 1
    finally:
        torch.compiler.reset()


@pytest.mark.slow
def test_a_model_that_was_compiled_before(twins, make_prompts):
    """The prompt runs compiled, too."""
    pair = twins("qwen2", num_hidden_layers=2)
    prompt = make_prompts(pair, 2)
    model = copy.deepcopy(pair.model)
    model.compile(backend="eager")
    with patch(model, mode="fused") as handle:
        with handle.clip(prompt.columns):
            out = model.generate(prompt.ids, attention_mask=prompt.mask, max_new_tokens=4, do_sample=False)
        scores = handle.scores(out)
    expected = pair.expected(handle.layers, prompt.embeds, prompt.mask, out[:, 30:], prompt.columns, [4, 4])
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=0)
