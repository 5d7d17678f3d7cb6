"""What is particular to the Qwen-VL families: sizes, patches, positions, deepstack."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import load_tiny_backbone

from rlivs.backbones import mrope, qwen2_vl
from rlivs.backbones.patches import cut_patches, fit_grid
from rlivs.memory.visual import VisualMemory

SIZES = st.integers(1, 4000)


@given(SIZES, SIZES, st.integers(4, 400))
def test_a_frame_fits_the_budget(height, width, budget):
    rows, columns = fit_grid(height, width, budget)
    assert rows >= 1 and columns >= 1
    assert rows * columns <= budget


@pytest.mark.parametrize(
    "height, width, expected",
    [(720, 1280, (15, 26)), (1280, 720, (26, 15)), (480, 640, (17, 23)), (500, 500, (20, 19)), (90, 160, (15, 26))],
)
def test_usual_frames_fill_the_papers_budget(height, width, expected):
    """3136 tokens for 16 frames: 392 for each of 8 pairs."""
    assert fit_grid(height, width, 392) == expected
    assert expected[0] * expected[1] > 0.96 * 392


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_patches(frames):
    patch, merge, together = 2, 2, 2
    pixels = torch.arange(frames * 3 * 8 * 12.0).reshape(frames, 3, 8, 12)
    patches, (steps, rows, columns) = cut_patches(pixels, patch, merge, together)
    assert (steps, rows, columns) == (-(-frames // 2), 4, 6)
    expected = []
    for step in range(steps):
        for block_row, block_column in itertools.product(range(0, rows, merge), range(0, columns, merge)):
            for row, column in itertools.product(range(merge), range(merge)):
                top, left = (block_row + row) * patch, (block_column + column) * patch
                pair = [pixels[min(step * together + i, frames - 1)] for i in range(together)]
                area = torch.stack([frame[:, top : top + patch, left : left + patch] for frame in pair], dim=1)
                expected.append(area.flatten())
    assert torch.equal(patches, torch.stack(expected))


def test_positions():
    assert mrope.in_line(5, 3).tolist() == [[5, 6, 7]] * 3
    grid = mrope.in_grid(10, 2, 2, 3, interval=4.5)
    assert grid.tolist() == [
        [10] * 6 + [14] * 6,
        [10, 10, 10, 11, 11, 11] * 2,
        [10, 11, 12] * 4,
    ]
    assert mrope.after(grid) == 15
    assert mrope.after(mrope.in_grid(10, 2, 2, 3, interval=1)) == 13


@pytest.fixture(scope="module", params=["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def backbone(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patcher:
        patcher.setattr(qwen2_vl, "TOKENS_PER_FRAME", 6)
        yield load_tiny_backbone(tmp_path_factory.mktemp(request.param), request.param)


def some_clip(backbone, seed=0, fps=0.5):
    frames = np.random.default_rng(seed).integers(0, 256, (8, 30, 40, 3), dtype=np.uint8)
    return backbone.encode(frames, [index / fps for index in range(8)])


def test_text_goes_on_behind_the_largest_position(backbone):
    clip = some_clip(backbone)
    memory = [some_clip(backbone, seed).select(seed, torch.tensor([1, 30])) for seed in (1, 2)]
    for slots in ([], memory):
        prompt = backbone.caption_prompt(clip, slots, "What?")
        positions = prompt.positions[:, 0]
        before, behind = positions[:, : prompt.columns.start], positions[:, prompt.columns.stop :]
        assert torch.equal(before, torch.arange(prompt.columns.start).expand(3, -1)) or prompt.visual is not None
        largest = int(positions[:, : prompt.columns.stop].max())
        assert torch.equal(behind, (largest + 1 + torch.arange(behind.shape[1])).expand(3, -1))
        assert prompt.next_position().flatten().tolist() == [int(behind.max()) + 1] * 3


def test_memory_stands_in_line_before_the_clip(backbone):
    memory = [some_clip(backbone, seed).select(seed, torch.tensor([1, 30])) for seed in (1, 2)]
    prompt = backbone.caption_prompt(some_clip(backbone), memory, "What?")
    remembered = torch.cat([slot.embeddings for slot in memory])
    embeds = prompt.inputs_embeds[0]
    start = next(i for i in range(len(embeds)) if torch.equal(embeds[i : i + 4], remembered))
    assert prompt.positions[:, 0, start : start + 4].tolist() == [list(range(start, start + 4))] * 3


def test_time_axis_of_a_clip(backbone):
    """Half a frame a second, two frames a step: 4 s from step to step."""
    clip = some_clip(backbone)
    positions = backbone.caption_prompt(clip, [], "What?").positions[0, 0]
    kind = backbone.model.config.model_type
    if kind != "qwen3_vl":
        start = int(backbone.caption_prompt(clip, [], "What?").columns.start)
        time = positions[start : start + clip.count].reshape(clip.steps, -1)
        interval = 8 if kind == "qwen2_5_vl" else 1
        assert time[:, 0].tolist() == [start + interval * step for step in range(clip.steps)]
        assert (time == time[:, :1]).all()
    else:
        written = backbone.write_clip(clip)
        assert [f"<{seconds:.1f} seconds>" in written for seconds in (1, 5, 9, 13)] == [True] * 4


def logits(backbone, prompt):
    with torch.no_grad():
        hidden = backbone.model.get_decoder()(**prompt.inputs(0, prompt.length), use_cache=False).last_hidden_state
    return backbone.model.get_output_embeddings()(hidden[:, -1])


def test_deepstack_vectors_travel_with_remembered_tokens(backbone):
    if backbone.model.config.model_type != "qwen3_vl":
        assert not some_clip(backbone).extras
        return
    clip, old = some_clip(backbone), some_clip(backbone, 1)
    assert old.extras["deepstack"].shape == (old.count, 2, 32)
    slot = old.select(0, torch.tensor([1, 7, 30]))
    assert torch.equal(slot.extras["deepstack"], old.extras["deepstack"][[1, 7, 30]])
    stored = VisualMemory.from_bytes(VisualMemory.to_bytes(slot))
    prompt = backbone.caption_prompt(clip, [slot], "What?")
    assert torch.equal(logits(backbone, prompt), logits(backbone, backbone.caption_prompt(clip, [stored], "What?")))
    other = dataclasses.replace(slot, extras={"deepstack": torch.full_like(slot.extras["deepstack"], 5.0)})
    difference = logits(backbone, prompt) - logits(backbone, backbone.caption_prompt(clip, [other], "What?"))
    assert difference.abs().max() > 1e-3
