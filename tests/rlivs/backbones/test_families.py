"""Every family: the hub's own results where there is no memory, its columns with memory, scores as eager has them."""

import numpy as np
import pytest
import torch
from families import FAMILIES, VARIANTS, qwen
from families.family import FRAME, FRAMES_PER_SECOND, TEXT
from tiny_models import load_tiny_backbone
from transformers import DynamicCache

from rlivs.backbones import load_backbone, loading, qwen2_vl
from rlivs.backbones.preprocessing import channels_first
from rlivs.decoding import generate_greedily, steps
from rlivs.scoring import patch
from rlivs.scoring.layers import decoder_attentions
from rlivs.versions import cache_argument
from rlivs_kernels import select_top_tokens


@pytest.fixture(autouse=True, scope="module")
def small_frames():
    """The Qwen towers at few tokens a frame."""
    with pytest.MonkeyPatch.context() as patcher:
        patcher.setattr(qwen2_vl, "TOKENS_PER_FRAME", qwen.TOKENS_PER_FRAME)
        yield


@pytest.fixture(scope="module", params=sorted(VARIANTS))
def family(request):
    return request.param


@pytest.fixture(scope="module")
def directory(family, tmp_path_factory):
    return tmp_path_factory.mktemp(family)


@pytest.fixture(scope="module")
def backbone(family, directory, small_frames):
    return load_tiny_backbone(directory, family)


def some_frames(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *FRAME, 3), dtype=np.uint8)


def some_times(count, start=0.0):
    return tuple(start + index / FRAMES_PER_SECOND for index in range(count))


def encode(backbone, count, seed=0, start=0.0):
    return backbone.encode(some_frames(count, seed), some_times(count, start))


def hub_inputs(family, backbone, count, seed=0):
    """What the hub's processor makes of `count` frames and the text, and which of the ids are visual."""
    known = VARIANTS[family]
    inputs = dict(backbone.tokenizer(known.spell(count), return_tensors="pt", add_special_tokens=False))
    inputs.pop("token_type_ids", None)
    visual = inputs["input_ids"] == backbone.tokenizer.convert_tokens_to_ids(known.visual_token)
    images = channels_first(some_frames(count, seed), torch.device("cpu"))
    return {**inputs, **known.hub_pixels(images, visual)}, visual


def decode(backbone, prompt):
    """All logits of a prompt, by the language model."""
    cap = getattr(backbone.model.config.get_text_config(), "final_logit_softcapping", None)
    with torch.no_grad():
        hidden = backbone.model.get_decoder()(**prompt.inputs(0, prompt.length), use_cache=False).last_hidden_state
        logits = backbone.model.get_output_embeddings()(hidden)
        return logits if cap is None else torch.tanh(logits / cap) * cap


@torch.no_grad()
def eager_attention(eager, prompt, ids, layers):
    """The attention `[layers, heads, N, columns]` of the rows that gave `ids` [1, N], as transformers returns it."""
    decoder = eager.model.get_decoder()
    cache = {cache_argument(decoder): DynamicCache(config=decoder.config)}
    attending = [layer for layer, module in enumerate(decoder_attentions(decoder)) if module is not None]
    positions = prompt.next_position() + torch.arange(ids.shape[1] - 1)
    rows = []
    for inputs in (prompt.inputs(0, prompt.length), {"input_ids": ids[:, :-1], "position_ids": positions}):
        attentions = decoder(**inputs, **cache, use_cache=True, output_attentions=True).attentions
        of_layer = dict(zip(attending, attentions, strict=True))
        rows.append(torch.stack([of_layer[layer][0, ..., prompt.columns] for layer in layers]))
    return torch.cat([rows[0][:, :, -1:], rows[1]], dim=2)


@pytest.mark.parametrize("count", [1, 3, 4])
def test_logits_without_memory_are_the_hubs(family, backbone, count):
    inputs, _ = hub_inputs(family, backbone, count, seed=count)
    prompt = backbone.caption_prompt(encode(backbone, count, seed=count), [], TEXT)
    with torch.no_grad():
        expected = backbone.model(**inputs).logits
    assert prompt.length == expected.shape[1]
    torch.testing.assert_close(decode(backbone, prompt), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_caption_without_memory_is_the_hubs(family, backbone, seed):
    inputs, _ = hub_inputs(family, backbone, 4, seed)
    expected = backbone.model.generate(**inputs, max_new_tokens=16, do_sample=False)[:, inputs["input_ids"].shape[1] :]
    prompt = backbone.caption_prompt(encode(backbone, 4, seed), [], TEXT)
    assert torch.equal(generate_greedily(backbone, prompt, 16), expected)


def test_columns_are_the_visual_tokens_of_the_hubs_prompt(family, backbone):
    _, visual = hub_inputs(family, backbone, 4)
    clip = encode(backbone, 4)
    prompt = backbone.caption_prompt(clip, [], TEXT)
    # LLaVA-OneVision's last video token stands for the newline
    expected = visual[0].nonzero().flatten()[: clip.count]
    columns = torch.arange(prompt.columns.start, prompt.columns.stop)
    assert torch.equal(prompt.visual_scores(columns[None])[0], expected)
    assert expected[0] == prompt.columns.start and expected[-1] == prompt.columns.stop - 1


@pytest.mark.parametrize("start", [3600.0, 3.1])  # 4.1 - 3.1 is less than 1
def test_time_counts_from_the_clips_start(family, backbone, start):
    early, late = encode(backbone, 4), encode(backbone, 4, start=start)
    assert early.times == late.times == some_times(4)
    prompts = [backbone.caption_prompt(clip, [], TEXT) for clip in (early, late)]
    assert torch.equal(prompts[0].inputs_embeds, prompts[1].inputs_embeds)
    assert torch.equal(prompts[0].positions, prompts[1].positions)


def remember(backbone, filled):
    clips = [encode(backbone, 4, seed=10 + index) for index in range(filled)]
    return [clip.select(index, torch.tensor([0, 2, 5 + index % 8])) for index, clip in enumerate(clips)]


@pytest.mark.parametrize("filled", [0, 2, 4])
def test_columns_hold_the_clip_behind_memory(backbone, filled):
    clip, memory = encode(backbone, 4), remember(backbone, filled)
    prompt = backbone.caption_prompt(clip, memory, TEXT)
    embeds = prompt.inputs_embeds[0]
    assert torch.equal(prompt.visual_scores(embeds[prompt.columns].T[None, 0] * 0 + 1)[0], torch.ones(clip.count))
    held = embeds[prompt.columns] if prompt.visual is None else embeds[prompt.columns][prompt.visual]
    assert torch.equal(held, clip.embeddings)
    remembered = torch.cat([slot.embeddings for slot in memory]) if memory else torch.empty(0, embeds.shape[1])
    before = embeds[: prompt.columns.start]
    start = next((i for i in range(len(before)) if torch.equal(before[i : i + len(remembered)], remembered)), None)
    assert start is not None


def test_each_frame_has_its_own_tokens_row_by_row(family, backbone):
    """A change in one corner of one frame changes the tokens of that step most, and there the corner's."""
    frames = some_frames(4)
    changed = frames.copy()
    changed[2, :10, :10] = 255 - changed[2, :10, :10]
    clip = backbone.encode(frames, some_times(4))
    difference = (backbone.encode(changed, some_times(4)).embeddings - clip.embeddings).abs().sum(-1)
    difference = difference.reshape(clip.steps, *clip.grid)
    step = 2 * clip.steps // 4
    others = [index for index in range(clip.steps) if index != step]
    assert difference[others].max() <= 1e-4
    if family != "llava_next_video":  # a crop takes the corner away from the first column
        assert difference[step].argmax() == 0


def test_an_answers_prompt_is_the_hubs(backbone):
    text = "These are descriptions.\n\nQuestion: What?\nAnswer briefly."
    ids = torch.tensor([backbone.chat.alone(text)])
    prompt = backbone.text_prompt(text)
    expected = backbone.model.generate(ids, max_new_tokens=12, do_sample=False)[:, ids.shape[1] :]
    assert torch.equal(generate_greedily(backbone, prompt, 12), expected)


def test_prompts_in_pieces_give_the_same_caption(backbone, monkeypatch):
    prompt = backbone.caption_prompt(encode(backbone, 4), remember(backbone, 2), TEXT)
    whole = generate_greedily(backbone, prompt, 8)
    monkeypatch.setattr(steps, "PREFILL_CHUNK", 24)
    assert torch.equal(generate_greedily(backbone, prompt, 8), whole)


@pytest.mark.parametrize("filled", [0, 8, 16])
def test_scores_and_kept_tokens_are_those_of_eager_attention(family, backbone, directory, filled):
    """With a visual memory that is empty, half full and full."""
    eager = load_backbone(directory, device="cpu", attn_implementation="eager")
    clip, memory = encode(backbone, 4), remember(backbone, filled)
    prompt = backbone.caption_prompt(clip, memory, TEXT)
    with patch(backbone.model, layers="all") as handle:
        with handle.clip(prompt.columns, prompt_length=prompt.length):
            ids = generate_greedily(backbone, prompt, 10)
        scores = prompt.visual_scores(handle.scores(ids))
    rows = eager_attention(eager, eager.caption_prompt(clip, memory, TEXT), ids, handle.layers)
    expected = prompt.visual_scores(rows.mean((0, 1, 2))[None])
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-7)
    assert torch.equal(select_top_tokens(scores, 4), select_top_tokens(expected, 4))


def test_every_known_family_is_tested():
    assert set(FAMILIES) == set(loading.FAMILIES)
