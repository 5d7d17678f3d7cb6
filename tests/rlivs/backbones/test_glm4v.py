"""What is particular to the GLM-4V families: how times are written, and memory as a picture before the video."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_models import save_tiny_checkpoint
from transformers.models.glm4v.processing_glm4v import Glm4vProcessor
from transformers.models.glm46v.processing_glm46v import Glm46VProcessor
from transformers.video_utils import VideoMetadata

from rlivs.backbones import load_backbone, qwen2_vl

# Model type, what the settings of the checkpoint name, and the hub's processor of such a checkpoint.
CHECKPOINTS = {
    "GLM-4.1V": ("glm4v", {"processor_class": "Glm4vProcessor"}, Glm4vProcessor),
    "GLM-4.5V": ("glm4v_moe", {"image_processor_type": "Glm4vImageProcessor"}, Glm4vProcessor),
    "GLM-4.6V": ("glm4v_moe", {"video_processor_type": "Glm46VVideoProcessor"}, Glm46VProcessor),
    "GLM-4.6V-Flash": ("glm4v", {"processor_class": "Glm46VProcessor"}, Glm46VProcessor),
    "glm46v, nothing named": ("glm46v", {}, Glm46VProcessor),
    "glm4v, nothing named": ("glm4v", {}, Glm4vProcessor),
}


@pytest.fixture(scope="module", autouse=True)
def small_frames():
    with pytest.MonkeyPatch.context() as patcher:
        patcher.setattr(qwen2_vl, "TOKENS_PER_FRAME", 6)
        yield


def load(directory, model_type, named):
    settings = save_tiny_checkpoint(directory, model_type) / "preprocessor_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **named}))
    return load_backbone(directory, device="cpu")


def some_clip(backbone, times, seed=0):
    frames = np.random.default_rng(seed).integers(0, 256, (len(times), 30, 40, 3), dtype=np.uint8)
    return backbone.encode(frames, times)


def written_by_the_hub(processor, grid, fps, indices):
    """What the hub's processor writes for the frames `indices` of a video, `grid` tokens a step."""
    known = SimpleNamespace(image_token="<|image|>", video_processor=SimpleNamespace(merge_size=2))
    known.replace_frame_token_id = processor.replace_frame_token_id.__get__(known)
    patches = torch.tensor([[-(-len(indices) // 2), 2 * grid[0], 2 * grid[1]]])
    metadata = VideoMetadata(total_num_frames=100, fps=fps, frames_indices=indices)
    return processor.replace_video_token(known, {"video_grid_thw": patches, "video_metadata": [metadata]}, 0)


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_a_clip_is_written_as_by_the_checkpoints_processor(checkpoint, tmp_path):
    model_type, named, processor = CHECKPOINTS[checkpoint]
    backbone = load(tmp_path, model_type, named)
    for fps, indices in ((25, [0, 12, 40, 52, 65, 90]), (30, [0, 45, 90]), (2, [0, 3])):
        clip = some_clip(backbone, [index / fps for index in indices])
        expected = written_by_the_hub(processor, clip.grid, fps, indices)
        assert backbone.write_clip(clip) == f"<|begin_of_video|>{expected}<|end_of_video|>"


@pytest.mark.parametrize("start", [0.0, 3.1, 1e6 + 0.1])
def test_whole_seconds_are_told_from_any_start(start, tmp_path):
    """4.1 - 3.1 is less than 1, as computers count."""
    backbone = load(tmp_path, "glm4v", {})
    clip = some_clip(backbone, [start + index for index in range(6)])
    stamps = [step.split("<|begin_of_image|>")[0] for step in backbone.write_clip(clip).split("<|end_of_image|>")[1:]]
    assert stamps == ["0", "2", "4<|end_of_video|>"]


def test_memory_is_a_picture_before_the_video(tmp_path):
    backbone = load(tmp_path, "glm4v", {})
    clip = some_clip(backbone, range(4))
    memory = [some_clip(backbone, range(4), seed).select(seed, torch.tensor([1, 20])) for seed in (1, 2)]
    prompt = backbone.caption_prompt(clip, memory, "What?")
    plain = backbone.caption_prompt(clip, [], "What?")
    names = ("<|begin_of_image|>", "<|end_of_image|>")
    start, end = backbone.embed(backbone.tokenizer.convert_tokens_to_ids(list(names))).split(1)
    picture = torch.cat([start, *(slot.embeddings for slot in memory), end])
    before = plain.columns.start - 2  # a video's and a step's own brackets
    embeds, added = prompt.inputs_embeds[0], len(picture)
    assert torch.equal(embeds[before : before + added], picture)
    assert torch.equal(torch.cat([embeds[:before], embeds[before + added :]]), plain.inputs_embeds[0])
    # memory takes a position a token, and moves all that stands behind it
    positions = prompt.positions[:, 0]
    assert torch.equal(positions[:, : before + added], torch.arange(before + added).expand(3, -1))
    assert torch.equal(positions[:, before + added :], plain.positions[:, 0, before:] + added)
