"""Patching and scoring without family code: other models, with their own vision towers, masks and positions."""

import pytest
import torch

from rlivs.errors import InputError
from rlivs.scoring import patch
from rlivs.versions import cache_argument

FAMILIES = [
    "llava_onevision", "llava_next_video", "internvl", "smolvlm", "gemma3", "qwen2_vl", "qwen2_5_vl", "qwen3_vl",
    "qwen2", "llama",
]  # fmt: skip
OPTIONS = {"max_new_tokens": 5, "do_sample": False}


def eager_scores(pair, layers, **inputs):
    """Mean over layers, heads and steps of what the last row of each of generate's own steps gives the columns."""
    out = pair.eager.generate(**inputs, **OPTIONS, output_attentions=True, return_dict_in_generate=True)
    steps = [torch.stack([step[layer][:, :, -1, pair.columns] for layer in layers]) for step in out.attentions]
    return torch.stack(steps).mean((0, 1, 3)), out.sequences


# Gemma3's sliding layers drop the prompt's keys, so rescoring refuses it (test_refusals).
RESCORABLE = [family for family in FAMILIES if family != "gemma3"]


@pytest.mark.parametrize(
    ("family", "mode"), [(family, "deferred") for family in FAMILIES] + [(family, "rescore") for family in RESCORABLE]
)
def test_scores_of_a_multimodal_prompt(twins, family, mode):
    pair = twins(family)
    with patch(pair.model, mode=mode) as handle:
        with handle.clip(pair.columns):
            out = pair.model.generate(**pair.inputs, **OPTIONS)
        scores = handle.scores(out)
    expected, ids = eager_scores(pair, handle.layers, **pair.inputs)
    assert torch.equal(out, ids)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=0)


def test_layers_of_a_model_with_sliding_windows(twins):
    """Automatic choices move to the layers that keep all keys."""
    model = twins("gemma3").model
    for layers in ("auto", "all"):
        with patch(model, layers=layers) as handle:
            assert handle.layers == (1, 3)


def visual_positions(pair):
    """`[3, 1, S]` positions as Qwen2-VL numbers text, a video of 2 x 2 x 2 tokens, and text again."""
    text = torch.arange(4).expand(3, -1)
    t, h, w = (axis.flatten() for axis in torch.meshgrid(*[torch.arange(2)] * 3, indexing="ij"))
    video = torch.stack([t, h, w]) + 4
    rest = torch.arange(6).expand(3, -1) + int(video.max()) + 1
    return torch.cat([text, video, rest], 1)[:, None]


@pytest.mark.parametrize("mode", ["deferred", "fused", "rescore"])
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
def test_embeddings_with_positions_of_several_axes(twins, family, mode):
    pair = twins(family)
    embeds = pair.embed(pair.inputs["input_ids"]).detach()
    inputs = {"inputs_embeds": embeds, "position_ids": visual_positions(pair)}
    with patch(pair.model, mode=mode) as handle:
        with handle.clip(pair.columns):
            out = pair.model.generate(**inputs, **OPTIONS)
        scores = handle.scores(out)
    expected, ids = eager_scores(pair, handle.layers, **inputs)
    assert torch.equal(out, ids)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=0)


def test_embeddings_without_their_positions_are_refused(twins):
    pair = twins("qwen2_vl")
    embeds = pair.embed(pair.inputs["input_ids"]).detach()
    with patch(pair.model) as handle:
        with handle.clip(pair.columns):
            out = pair.model.generate(inputs_embeds=embeds, **OPTIONS)
        with pytest.raises(InputError, match="pass position_ids along with inputs_embeds"):
            handle.scores(out)

        with handle.clip(pair.columns), torch.no_grad():
            logits = pair.model(inputs_embeds=embeds, use_cache=True).logits
        with pytest.raises(InputError, match="pass position_ids along with inputs_embeds"):
            handle.scores(logits[:, -1:].argmax(-1))


def test_positions_put_in_by_a_hook_are_accepted(twins):
    """A hook on the language model that replaces position_ids, registered before or after patching."""
    pair = twins("qwen2_vl")
    embeds, positions = pair.embed(pair.inputs["input_ids"]).detach(), visual_positions(pair)

    def replace(module, args, kwargs):
        past = kwargs[cache_argument(module)].get_seq_length()
        if past == 0:
            return args, {**kwargs, "position_ids": positions}
        steps = torch.full((3, 1, 1), past - positions.shape[2]) + positions[:, :, -1:] + 1
        return args, {**kwargs, "position_ids": steps}

    def run(model):
        return model.generate(inputs_embeds=embeds, **OPTIONS)

    with patch(pair.model, mode="rescore") as handle:
        hook = pair.model.model.language_model.register_forward_pre_hook(replace, with_kwargs=True)
        with handle.clip(pair.columns):
            out = run(pair.model)
        hook.remove()
        scores = handle.scores(out)
    expected, ids = eager_scores(pair, handle.layers, inputs_embeds=embeds, position_ids=positions)
    assert torch.equal(out, ids)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=0)
