"""The walk-through is true: its code runs, and its backbone is the shipped one's equal."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import load_tiny_backbone, make_tiny_model

from rlivs.backbones import load_backbone
from rlivs.backbones.loading import FAMILIES
from rlivs.decoding import generate_greedily
from rlivs.scoring.layers import decoder_attentions, text_decoder, why_not

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = DOCS / "add-a-backbone.md"


def test_the_walk_through_makes_a_backbone(tmp_path, monkeypatch):
    shipped = load_tiny_backbone(tmp_path, "llava_next_video")
    monkeypatch.setitem(FAMILIES, "llava_next_video", None)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(block, str(PAGE), "exec"), {"__name__": "walk_through"})
    own = load_backbone(tmp_path, device="cpu")
    assert type(own).__name__ == "NextVideo"

    frames = np.random.default_rng(0).integers(0, 256, (3, 50, 40, 3), dtype=np.uint8)
    prompts = []
    for backbone in (own, shipped):
        clip = backbone.encode(frames)
        memory = [clip.select(0, torch.tensor([1, 2]))]
        prompts.append(backbone.caption_prompt(clip, memory, "What?"))
    assert torch.equal(prompts[0].inputs_embeds, prompts[1].inputs_embeds)
    assert prompts[0].columns == prompts[1].columns
    ids = generate_greedily(own, prompts[0], 8)
    assert torch.equal(ids, generate_greedily(shipped, prompts[1], 8))


def test_the_files_it_names_are_there():
    root = PAGE.parents[1]
    for name in re.findall(r"`([\w/]+\.py)`", PAGE.read_text(encoding="utf-8")):
        places = (root / name, root / "python" / name, root / "python" / "rlivs" / "backbones" / name)
        assert any(place.is_file() for place in places), name


def scored_layers():
    """Model type -> what the table of families says of its layers."""
    rows = re.findall(r"^\| (`.*?) \|.*\| (.*?) \|$", (DOCS / "backbones.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {model_type: layers for types, layers in rows for model_type in re.findall(r"`(\w+)`", types)}


def test_the_table_has_every_family():
    assert set(scored_layers()) == set(FAMILIES)


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_the_layers_that_the_table_calls_scorable(model_type):
    attentions = decoder_attentions(text_decoder(make_tiny_model(model_type)))
    every = all(why_not(index, attention) is None for index, attention in enumerate(attentions))
    assert every == (scored_layers()[model_type] == "all")
