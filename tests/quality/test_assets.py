"""What is shipped loads offline, is small, and does what it was trained for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import pytest
import torch
import yaml

from benchmarks.quality import evaluate
from benchmarks.quality.make_demo import ASSETS, CLIP_SECONDS, LONG_SCENES, clip_lines, describe, script
from benchmarks.quality.study.__main__ import MODEL as STUDIED
from benchmarks.quality.train.model import parameter_count
from benchmarks.quality.world import grammar
from rlivs import StreamingVideoQA
from rlivs.config import PipelineConfig

MODEL, DEMO = ASSETS / "tiny-onevision", ASSETS / "demo"


@pytest.fixture(scope="module")
def loaded():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield evaluate.load(MODEL)
    torch.set_num_threads(threads)


def test_sizes():
    weights = sum(file.stat().st_size for file in MODEL.iterdir())
    demo = sum(file.stat().st_size for file in DEMO.iterdir())
    assert weights < 10_000_000
    assert demo < 2_000_000
    assert weights + demo < 12_000_000


def test_loads_offline_with_every_key_and_no_warning():
    code = (
        "import sys, transformers as t\n"
        "m, info = t.LlavaOnevisionForConditionalGeneration.from_pretrained(sys.argv[1], output_loading_info=True)\n"
        "assert not any(info.values()), info\n"
        "assert str(m.dtype) == 'torch.float32', m.dtype\n"
        "t.AutoTokenizer.from_pretrained(sys.argv[1])\n"
    )
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(MODEL)], env=offline, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for word in ("MISSING", "UNEXPECTED", "newly initialized", "Warning"):
        assert word not in done.stderr


def test_the_shape_of_the_model(loaded):
    model, _ = loaded
    assert 2_000_000 <= parameter_count(model) <= 5_000_000
    assert model.config.vision_feature_layer == -1
    assert model.config.vision_feature_select_strategy == "full"
    side = model.config.vision_config.image_size // model.config.vision_config.patch_size
    assert (side // 2) ** 2 == 16


def test_unseen_clips_are_captioned_exactly_after_h264(loaded):
    model, tokenizer = loaded
    clips = [clip for things in (1, 2) for clip in evaluate.decoded_clips(model, 6, things, seed=31)]
    found = evaluate.stream(model, tokenizer, clips)
    assert found["exact"] >= 0.8
    assert found["top16_on_things"] > 2 * found["chance"]


def test_questions_are_answered_exactly(loaded):
    model, tokenizer = loaded
    found = evaluate.answers(model, tokenizer, 8, (3, 20), seed=31)
    found.pop("misses")
    asked = sum(kind["asked"] for kind in found.values())
    right = sum(kind["asked"] * kind["exact"] for kind in found.values())
    assert asked >= 25 and right / asked >= 0.8


def test_the_demo_is_what_its_script_says():
    told = json.loads((DEMO / "demo.json").read_text())
    assert told == describe(clip_lines(script(told["seed"])), told["seed"])
    with av.open(str(DEMO / "demo.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.width == stream.height == 256
        assert float(stream.duration * stream.time_base) == told["duration"]
    assert 180 <= told["duration"] <= 240
    assert told["duration"] == len(told["clips"]) * CLIP_SECONDS
    for clip, after in zip(told["clips"], told["clips"][1:], strict=False):
        assert clip["end"] == after["start"]
        assert grammar.parse(clip["caption"])
    evidence = [question["evidence"]["start"] for question in told["questions"]]
    assert len(set(evidence)) == len(evidence) == 3
    assert len(script(told["seed"])) == len(told["clips"]) - len(LONG_SCENES)


def test_the_demo_config_gives_the_clips_of_the_script():
    options = yaml.safe_load(Path(DEMO / "demo.yaml").read_text())
    assert options["frames_per_clip"] / options["fps"] == CLIP_SECONDS


def test_the_checkpoint_of_the_study_still_tells_the_demo():
    """It was trained further, on another world."""
    told = json.loads((DEMO / "demo.json").read_text(encoding="utf-8"))
    config = PipelineConfig(**yaml.safe_load((DEMO / "demo.yaml").read_text(encoding="utf-8")))
    with StreamingVideoQA.from_pretrained(STUDIED, memory=":memory:", config=config, device="cpu") as engine:
        session = engine.open("demo")
        captions = [clip.caption for clip in session.watch(DEMO / "demo.mp4")]
        answers = [session.ask(asked["question"]).text for asked in told["questions"]]
    assert captions == [clip["caption"] for clip in told["clips"]]
    assert answers == [asked["answer"] for asked in told["questions"]]
