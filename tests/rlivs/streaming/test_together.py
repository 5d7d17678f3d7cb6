"""Clips of several streams captioned at once: what each leaves behind is what it leaves behind alone."""

import numpy as np
import pytest
import torch
from families import FAMILIES, SLIDING, qwen
from families.family import FRAME
from random_prompts import ENDS
from tiny_models import load_tiny_backbone

from rlivs.backbones import qwen2_vl
from rlivs.config import PipelineConfig
from rlivs.errors import InputError
from rlivs.memory.store import CaptionStore
from rlivs.scoring import patch
from rlivs.streaming import StreamingVideoQA
from rlivs.streaming.captioning import caption_ready, ready_clip
from rlivs.streaming.together import caption_clips
from rlivs.video import VideoClip

CONFIG = PipelineConfig(max_caption_tokens=9, keep_tokens=4, layers="all", caption_prompt="Say it.")
# Of each stream: frames of its clip, clips remembered.
STREAMS = ((4, 3), (2, 0), (4, 1))


@pytest.fixture(scope="module", params=sorted(set(FAMILIES) - SLIDING))
def backbone(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patcher:
        patcher.setattr(qwen2_vl, "TOKENS_PER_FRAME", qwen.TOKENS_PER_FRAME)
        backbone = load_tiny_backbone(tmp_path_factory.mktemp(request.param), request.param)
        # So many that some captions end early, and a caption's end is where the scorer finds it, too.
        backbone.eos_token_ids = ENDS
        backbone.model.generation_config.eos_token_id = list(backbone.eos_token_ids)
        yield backbone


def clip_of(seed, frames, index=0):
    images = np.random.default_rng(seed).integers(0, 256, (frames, *FRAME, 3), dtype=np.uint8)
    times = np.arange(frames) / 2
    return VideoClip(index=index, start=0.0, end=frames / 2, frames=images, times=times)


def ready_clips(backbone, config):
    found = []
    for stream, (frames, slots) in enumerate(STREAMS):
        encoded = [backbone.encode(clip_of(10 * stream + 1 + i, 4).frames, (0, 0.5, 1, 1.5)) for i in range(slots)]
        memory = [each.select(i, torch.tensor([0, 2, 5 + stream])) for i, each in enumerate(encoded)]
        found.append(ready_clip(backbone, clip_of(10 * stream, frames), memory, config))
    return found


@pytest.mark.parametrize(
    ("mode", "change"),
    [("deferred", {}), ("fused", {"include_last_prompt_row": False, "cut_repetition": True})],
    ids=["deferred", "fused"],
)
def test_clips_at_once_leave_what_each_leaves_alone(backbone, mode, change):
    config = CONFIG.model_copy(update=change)
    ready = ready_clips(backbone, config)
    assert len({each.prompt.length for each in ready}) > 1
    with patch(backbone.model, layers="all", mode=mode) as tap:
        alone = [caption_ready(backbone, tap, each, config) for each in ready]
        between = []
        together = caption_clips(backbone, tap, ready, config, lambda: between.append(1))
    assert len(between) >= max(clip.num_caption_tokens for clip in alone)
    for one, other in zip(together, alone, strict=True):
        assert (one.caption, one.num_caption_tokens) == (other.caption, other.num_caption_tokens)
        assert (one.index, one.start, one.end, one.grid) == (other.index, other.start, other.end, other.grid)
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-4, atol=1e-7)
        assert one.selected == other.selected
        torch.testing.assert_close(one.tokens.embeddings, other.tokens.embeddings)


def test_what_runs_between_the_steps_is_no_part_of_the_captions(backbone):
    """Another clip is run to its end between any two steps."""
    ready = ready_clips(backbone, CONFIG)
    with patch(backbone.model, layers="all") as tap:
        alone = caption_clips(backbone, tap, ready, CONFIG)

        def meanwhile():
            prompt = backbone.text_prompt("What?")
            backbone.model.get_decoder()(**prompt.inputs(0, prompt.length))

        disturbed = caption_clips(backbone, tap, ready, CONFIG, meanwhile)
    for one, other in zip(disturbed, alone, strict=True):
        assert one.caption == other.caption
        np.testing.assert_array_equal(one.scores, other.scores)


@pytest.mark.parametrize(
    ("family", "change", "reason"),
    [("gemma4", {}, "do not all attend"), ("llava_onevision", {"scoring": "rescore"}, "feeds one caption again")],
)
def test_what_cannot_be_done_at_once_is_refused(tmp_path, family, change, reason):
    backbone = load_tiny_backbone(tmp_path, family)
    config = PipelineConfig(captions_at_once=4, **change)
    with pytest.raises(InputError, match=f"{reason}.*; set captions_at_once to 1"):
        StreamingVideoQA(backbone, CaptionStore.open(":memory:"), config)
