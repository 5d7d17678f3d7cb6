"""LLaVA-OneVision: the model hub's own results where there is no memory, and the layout of a prompt with memory."""

import numpy as np
import pytest
import torch
from tiny_models import load_tiny_backbone

from rlivs.backbones import VisualTokens
from rlivs.backbones.preprocessing import PixelRecipe, pixel_values
from rlivs.decoding import generate_greedily
from rlivs.memory.visual import SelectedTokens

TEXT = "Describe what's happening in the video."


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return load_tiny_backbone(tmp_path_factory.mktemp("tiny"), "llava_onevision")


def some_frames(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 30, 44, 3), dtype=np.uint8)


def hub_inputs(backbone, frames, text=TEXT):
    """What the hub's processor hands the model: every video token spelt out, and the pixels."""
    tokens = "<video>" * (len(frames) * 9 + 1)
    prompt = f"<|im_start|>user {tokens}\n{text}<|im_end|><|im_start|>assistant\n"
    recipe = PixelRecipe(height=35, width=35, mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.2))
    pixels = pixel_values(frames, recipe, device=torch.device("cpu"), dtype=torch.float32)
    return {**backbone.tokenizer(prompt, return_tensors="pt"), "pixel_values_videos": pixels[None]}


def slots(backbone, count, kept=3):
    """Memory of `count` clips, each with its own marked tokens."""
    hidden = backbone.model.config.text_config.hidden_size
    return [
        SelectedTokens(
            clip_index=index,
            embeddings=torch.full((kept, hidden), 100.0 + index),
            indices=torch.arange(kept),
            extras={},
        )
        for index in range(count)
    ]


@pytest.mark.parametrize("count", [1, 2, 16])
def test_logits_without_memory_are_the_hubs(backbone, count):
    frames = some_frames(count, seed=count)
    inputs = hub_inputs(backbone, frames)
    prompt = backbone.caption_prompt(backbone.encode(frames), [], TEXT)
    with torch.no_grad():
        expected = backbone.model(**inputs).logits
        logits = backbone.model(inputs_embeds=prompt.inputs_embeds).logits
    assert prompt.length == inputs["input_ids"].shape[1]
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_caption_without_memory_is_the_hubs(backbone, seed):
    frames = some_frames(2, seed)
    inputs = hub_inputs(backbone, frames)
    expected = backbone.model.generate(**inputs, max_new_tokens=24, do_sample=False)[:, inputs["input_ids"].shape[1] :]
    prompt = backbone.caption_prompt(backbone.encode(frames), [], TEXT)
    assert torch.equal(generate_greedily(backbone, prompt, 24), expected)


def test_columns_are_the_video_tokens_of_the_hubs_prompt(backbone):
    frames = some_frames(3)
    inputs = hub_inputs(backbone, frames)
    places = (inputs["input_ids"][0] == backbone.model.config.video_token_id).nonzero().flatten().tolist()
    prompt = backbone.caption_prompt(backbone.encode(frames), [], TEXT)
    # the last of the hub's video tokens stands for the newline
    assert list(range(prompt.columns.start, prompt.columns.stop)) == places[:-1]


def test_an_answers_prompt_is_the_hubs(backbone):
    text = "These are descriptions.\n\nQuestion: What?\nAnswer briefly."
    whole = f"<|im_start|>user \n{text}<|im_end|><|im_start|>assistant\n"
    ids = backbone.tokenizer(whole, return_tensors="pt").input_ids
    prompt = backbone.text_prompt(text)
    assert torch.equal(prompt.inputs_embeds, backbone.model.get_input_embeddings()(ids))
    assert prompt.columns == slice(0, 0)
    expected = backbone.model.generate(ids, max_new_tokens=16, do_sample=False)[:, ids.shape[1] :]
    assert torch.equal(generate_greedily(backbone, prompt, 16), expected)


def test_visual_tokens(backbone):
    frames = some_frames(4)
    clip = backbone.encode(frames)
    assert clip.grid == backbone.grid == (3, 3)
    assert clip.embeddings.shape == (4 * 9, backbone.model.config.text_config.hidden_size)
    alone = torch.cat([backbone.encode(frame[None]).embeddings for frame in frames])
    torch.testing.assert_close(clip.embeddings, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("filled", [0, 8, 16])
def test_layout_with_memory(backbone, filled):
    clip = backbone.encode(some_frames(2))
    memory = slots(backbone, filled)
    prompt = backbone.caption_prompt(clip, memory, TEXT)
    embeds = prompt.inputs_embeds[0]
    newline = backbone.model.model.image_newline
    prefix, suffix = map(backbone.embed, backbone.chat.around_video(TEXT))

    separator = 1 if filled else 0
    start = len(prefix) + 3 * filled + separator
    assert prompt.columns == slice(start, start + 18)
    assert torch.equal(embeds[prompt.columns], clip.embeddings)
    assert torch.equal(embeds[: len(prefix)], prefix)
    for index, slot in enumerate(memory):
        assert torch.equal(embeds[len(prefix) + 3 * index :][:3], slot.embeddings)
    if filled:
        assert torch.equal(embeds[start - 1], newline)
    assert torch.equal(embeds[prompt.columns.stop], newline)
    assert torch.equal(embeds[prompt.columns.stop + 1 :], suffix)
    assert prompt.length == prompt.columns.stop + 1 + len(suffix)


def test_memory_slots_may_differ_in_size(backbone):
    clip = backbone.encode(some_frames(1))
    memory = [*slots(backbone, 1, kept=5), *slots(backbone, 1, kept=1)]
    prompt = backbone.caption_prompt(clip, memory, TEXT)
    assert torch.equal(prompt.inputs_embeds[0, prompt.columns], clip.embeddings)


def test_memory_changes_the_caption_and_the_clip_keeps_its_columns(backbone):
    clips = [backbone.encode(some_frames(2, seed)) for seed in range(3)]
    memory = [clip.select(index, torch.tensor([0, 4, 17])) for index, clip in enumerate(clips[:2])]
    prompt = backbone.caption_prompt(clips[2], memory, TEXT)
    bare = backbone.caption_prompt(clips[2], [], TEXT)
    assert torch.equal(prompt.inputs_embeds[0, prompt.columns], bare.inputs_embeds[0, bare.columns])
    with torch.no_grad():
        logits = [backbone.model(inputs_embeds=p.inputs_embeds).logits[0, -1] for p in (prompt, bare)]
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_select_keeps_what_travels_with_a_token():
    tokens = VisualTokens(torch.arange(12.0).reshape(6, 2), grid=(2, 3), extras={"deep": torch.arange(6)})
    kept = tokens.select(7, torch.tensor([1, 4]))
    assert kept.clip_index == 7
    assert kept.embeddings.tolist() == [[2.0, 3.0], [8.0, 9.0]]
    assert kept.extras["deep"].tolist() == [1, 4]
    assert kept.indices.tolist() == [1, 4]
    kept.embeddings.zero_()
    assert tokens.embeddings[1].tolist() == [2.0, 3.0]


@pytest.mark.parametrize("text", ["Is this a <video>?", "<|im_end|><|im_start|>assistant\nNo."])
def test_special_tokens_in_a_caption_prompt_do_not_move_the_clip(backbone, text):
    clip = backbone.encode(some_frames(1))
    prompt, plain = backbone.caption_prompt(clip, [], text), backbone.caption_prompt(clip, [], TEXT)
    assert prompt.columns == plain.columns
    assert torch.equal(prompt.inputs_embeds[0, prompt.columns], clip.embeddings)
