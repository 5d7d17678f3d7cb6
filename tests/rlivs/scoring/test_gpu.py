"""On a GPU or its stand-in: static caches, and layers spread over devices."""

import copy

import pytest
import torch
from torch.utils._pytree import tree_map

from rlivs.scoring import patch

pytestmark = pytest.mark.usefixtures("gpu")

COLUMNS = slice(6, 15)


@pytest.fixture
def pair(twins):
    # Head size 64, which every kernel serves.
    return twins("qwen2", num_hidden_layers=4, hidden_size=448, num_attention_heads=7, num_key_value_heads=1)


def check(pair, handle, scores, prompt, ids):
    assert scores.device.type == handle._model.device.type
    lengths = [ids.shape[1]] * len(ids)
    expected = pair.expected(handle.layers, prompt.embeds, prompt.mask, ids.cpu(), prompt.columns, lengths)
    torch.testing.assert_close(scores.cpu(), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("cache", [None, "static"])
@pytest.mark.parametrize("mode", ["deferred", "fused", "rescore"])
def test_generate(pair, make_prompts, mode, cache):
    """With a static cache, on a real GPU, generate compiles its steps and replays them as CUDA graphs."""
    model, prompt = copy.deepcopy(pair.model).cuda(), make_prompts(pair, 2)
    with patch(model, mode=mode) as handle:
        for _ in range(2):
            with handle.clip(prompt.columns):
                out = model.generate(
                    prompt.ids.cuda(),
                    attention_mask=prompt.mask.cuda(),
                    max_new_tokens=6,
                    do_sample=False,
                    cache_implementation=cache,
                )
            check(pair, handle, handle.scores(out), prompt, out[:, 30:])


@pytest.mark.parametrize("mode", ["deferred", "fused", "rescore"])
def test_layers_on_two_devices(pair, make_prompts, mode):
    model, prompt = copy.deepcopy(pair.model), make_prompts(pair, 2)

    def place(module, device):
        def follow(module, args, kwargs):
            return tree_map(lambda x: x.to(device) if isinstance(x, torch.Tensor) else x, (args, kwargs))

        module.to(device).register_forward_pre_hook(follow, with_kwargs=True)

    for index, layer in enumerate(model.model.layers):
        place(layer, "cuda" if index >= 2 else "cpu")
    place(model.model.norm, "cpu")
    with patch(model, layers="all", mode=mode) as handle:
        with handle.clip(prompt.columns):
            out = model.generate(prompt.ids, attention_mask=prompt.mask, max_new_tokens=6, do_sample=False)
        check(pair, handle, handle.scores(out), prompt, out[:, 30:])
