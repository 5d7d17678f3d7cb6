"""A caption that loops is cut and marked, everywhere it is read, and scored by what is left of it."""

import pytest
import torch
from tiny_models import load_tiny_backbone

from rlivs.config import PipelineConfig
from rlivs.memory.store import CaptionStore
from rlivs.streaming import StreamingVideoQA
from rlivs.streaming.captioning import CUT


@pytest.fixture
def caption(tmp_path, film):
    """Captions of one clip by a model whose next token follows from the last one alone."""
    backbone = load_tiny_backbone(tmp_path / "model", "llava_onevision", seed=4)
    for layer in backbone.model.get_decoder().layers:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)

    def run(**options):
        config = PipelineConfig(fps=2, frames_per_clip=4, memory_slots=0, **options)
        with StreamingVideoQA(backbone, CaptionStore.open(":memory:"), config) as engine:
            clip = next(engine.open("film").watch(film))
            return clip, engine.store.captions("film")[0].text

    return run


def test_a_caption_that_loops(caption):
    whole, _ = caption(max_caption_tokens=200)
    cut, stored = caption(max_caption_tokens=200, cut_repetition=True)
    assert whole.num_caption_tokens == 200 and CUT not in whole.caption
    assert cut.caption == stored and cut.caption.endswith(CUT)
    assert whole.caption.startswith(cut.caption.removesuffix(CUT)) and cut.num_caption_tokens < 100
    assert len(cut.scores) == len(whole.scores) and cut.scores.sum() > 0


def test_scores_are_those_of_the_tokens_that_stay(caption):
    cut, _ = caption(max_caption_tokens=200, cut_repetition=True)
    short, _ = caption(max_caption_tokens=cut.num_caption_tokens)
    assert (cut.scores == short.scores).all() and cut.selected == short.selected
