"""Every family: the hub's own results where there is no memory, its columns with memory, scores as eager has them."""

from datetime import timedelta

import numpy as np
import pytest
import torch
from tiny_models import FAMILIES, load_tiny_backbone

from rlivs.backbones import load_backbone, loading, qwen2_vl
from rlivs.backbones.patches import cut_patches
from rlivs.backbones.preprocessing import PixelRecipe, channels_first, normalise, resize
from rlivs.decoding import generate_greedily, steps
from rlivs.scoring import patch
from rlivs_kernels import select_top_tokens

TEXT = "Describe what's happening in the video."
FRAMES_PER_SECOND = 2
QWEN_GRID = (3, 4)


@pytest.fixture(autouse=True, scope="module")
def small_frames():
    """The Qwen towers at six tokens a frame: a frame of 30 x 40 gets a grid of 3 x 4 for two."""
    with pytest.MonkeyPatch.context() as patcher:
        patcher.setattr(qwen2_vl, "TOKENS_PER_FRAME", 6)
        yield


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request):
    return request.param


@pytest.fixture(scope="module")
def directory(family, tmp_path_factory):
    return tmp_path_factory.mktemp(family)


@pytest.fixture(scope="module")
def backbone(family, directory, small_frames):
    return load_tiny_backbone(directory, family)


def some_frames(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 30, 40, 3), dtype=np.uint8)


def some_times(count, start=0.0):
    return tuple(start + index / FRAMES_PER_SECOND for index in range(count))


def encode(backbone, count, seed=0, start=0.0):
    return backbone.encode(some_frames(count, seed), some_times(count, start))


# The prompt and the pixels as the hub's processors make them, written out by hand.


def spell(family, count):
    """(text of the whole prompt, one visual token's text)"""
    pairs = -(-count // 2)
    if family == "llava_onevision":
        video = "<video>" * (9 * count + 1)
        return f"<|im_start|>user {video}\n{TEXT}<|im_end|><|im_start|>assistant\n", "<video>"
    if family == "llava_next_video":
        return f"USER: {'<video>' * (4 * count)}\n{TEXT} ASSISTANT:", "<video>"
    if family == "internvl":
        token = "<IMG_CONTEXT>"
        video = "\n".join(f"Frame{i + 1}: <img>{token * 4}</img>" for i in range(count))
        return f"<|im_start|>user {video}\n{TEXT}<|im_end|><|im_start|>assistant\n", token
    if family == "smolvlm":
        words = {1: "one", 3: "three", 4: "four"}[count]
        seconds = int((count - 1) / FRAMES_PER_SECOND)
        video = (
            f"You are provided the following series of {words} frames from a {timedelta(seconds=seconds)} "
            "[H:MM:SS] video.\n"
        )
        for i in range(count):
            around = "<fake_token_around_image>"
            video += f"\nFrame from 00:{i // FRAMES_PER_SECOND:02d}:{around}<global-img>{'<image>' * 4}{around}"
        return f"<|im_start|>User: {video}\n\n{TEXT}<|im_end|>\nAssistant:", "<image>"
    token = "<|video_pad|>"
    if family == "qwen3_vl":
        video = ""
        for i in range(pairs):
            last = min(2 * i + 1, count - 1)
            seconds = (2 * i + last) / 2 / FRAMES_PER_SECOND
            video += f"<{seconds:.1f} seconds><|vision_start|>{token * 12}<|vision_end|>"
    else:
        video = f"<|vision_start|>{token * (12 * pairs)}<|vision_end|>"
    return (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        f"<|im_start|>user\n{video}{TEXT}<|im_end|>\n<|im_start|>assistant\n"
    ), token


def hub_inputs(family, backbone, count, seed=0):
    prompt, token = spell(family, count)
    inputs = dict(backbone.tokenizer(prompt, return_tensors="pt", add_special_tokens=False))
    inputs.pop("token_type_ids", None)
    visual = inputs["input_ids"] == backbone.tokenizer.convert_tokens_to_ids(token)
    recipe = PixelRecipe(height=28, width=28, mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.2))
    images = channels_first(some_frames(count, seed), torch.device("cpu"))
    if family == "llava_onevision":
        return {**inputs, "pixel_values_videos": normalise(resize(images, 35, 35), recipe)[None]}, visual
    if family == "llava_next_video":
        cropped = resize(images, 28, 37)[..., 4:32]
        return {**inputs, "pixel_values_videos": normalise(cropped, recipe)[None]}, visual
    if family == "internvl":
        return {**inputs, "pixel_values": normalise(resize(images, 28, 28), recipe)}, visual
    if family == "smolvlm":
        return {**inputs, "pixel_values": normalise(resize(images, 28, 28), recipe)[None]}, visual
    rows, columns = QWEN_GRID
    patches, shape = cut_patches(normalise(resize(images, 8 * rows, 8 * columns), recipe), 4, 2, 2)
    inputs |= {
        "pixel_values_videos": patches,
        "video_grid_thw": torch.tensor([shape]),
        "mm_token_type_ids": 2 * visual.int(),
    }
    if family == "qwen2_5_vl":
        inputs["second_per_grid_ts"] = torch.tensor([2.0 / FRAMES_PER_SECOND])
    return inputs, visual


def decode(backbone, prompt):
    """All logits of a prompt, by the language model."""
    with torch.no_grad():
        hidden = backbone.model.get_decoder()(**prompt.inputs(0, prompt.length), use_cache=False).last_hidden_state
        return backbone.model.get_output_embeddings()(hidden)


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


def test_time_counts_from_the_clips_start(family, backbone):
    early, late = encode(backbone, 4), encode(backbone, 4, start=3600.0)
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
    prompt = backbone.caption_prompt(encode(backbone, 4), remember(backbone, filled), TEXT)
    with patch(backbone.model, layers="all") as handle:
        with handle.clip(prompt.columns, prompt_length=prompt.length):
            ids = generate_greedily(backbone, prompt, 10)
        scores = prompt.visual_scores(handle.scores(ids))

    inputs = prompt.inputs(0, prompt.length)
    count = ids.shape[1] - 1
    inputs["inputs_embeds"] = torch.cat([prompt.inputs_embeds, eager.embed(ids[0, :-1].tolist())[None]], dim=1)
    inputs["position_ids"] = torch.cat([prompt.positions, prompt.next_position() + torch.arange(count)], dim=-1)
    if "visual_pos_masks" in inputs:
        inputs["visual_pos_masks"] = torch.nn.functional.pad(inputs["visual_pos_masks"], (0, count))
    with torch.no_grad():
        attentions = eager.model.get_decoder()(**inputs, output_attentions=True, use_cache=True).attentions
    rows = torch.stack(attentions)[:, 0, :, prompt.length - 1 :, prompt.columns]
    expected = prompt.visual_scores(rows.mean((0, 1, 2))[None])
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-7)
    assert torch.equal(select_top_tokens(scores, 4), select_top_tokens(expected, 4))


def test_every_known_family_is_tested():
    assert set(FAMILIES) == set(loading.FAMILIES)
