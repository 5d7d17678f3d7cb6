"""On a GPU or its stand-in: every family's streams are those of a CPU, and the host does not wait for tokens."""

import sys

import numpy as np
import pytest
import torch
from families import FAMILIES, SLIDING, qwen
from families.family import FRAME
from random_prompts import ENDS
from stand_in_gpu import stand_in_gpu
from tiny_models import load_tiny_backbone
from torch.utils._pytree import tree_map

import rlivs_kernels
from rlivs.backbones import load_backbone, preprocessing, qwen2_vl
from rlivs.config import PipelineConfig
from rlivs.decoding import graph
from rlivs.decoding.greedy import begin_steps
from rlivs.memory.store import CaptionStore
from rlivs.streaming import StreamingVideoQA
from rlivs.video import VideoClip

OPTIONS = {"fps": 2, "frames_per_clip": 4, "keep_tokens": 4, "memory_slots": 2, "max_answer_tokens": 6}


@pytest.fixture(autouse=True)
def small_clips(monkeypatch):
    """Few tokens; and frames resized on the CPU, too, as a GPU does it, which rounds otherwise."""
    monkeypatch.setattr(qwen2_vl, "TOKENS_PER_FRAME", qwen.TOKENS_PER_FRAME)
    for module in [module for module in sys.modules.values() if vars(module).get("resize") is preprocessing.resize]:
        monkeypatch.setattr(module, "resize", preprocessing.resize_in_float)


def on_both(tmp_path, name):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    both = load_tiny_backbone(tmp_path, name), load_backbone(tmp_path, device="cuda", dtype=torch.float32)
    for backbone in both:
        backbone.eos_token_ids = ENDS
        backbone.model.generation_config.eos_token_id = list(ENDS)
    return both


def clips(count):
    for index in range(count):
        images = np.random.default_rng(index).integers(0, 256, (4, *FRAME, 3), dtype=np.uint8)
        times = tuple(2 * index + step / 2 for step in range(4))
        yield VideoClip(index, images, times, 2.0 * index, 2.0 * index + 2)


def watched(backbone, **options):
    """What a stream leaves behind, its memory empty, half full and full, and the answer to a question about it."""
    config = PipelineConfig(**{**OPTIONS, "max_caption_tokens": 7, **options})
    with StreamingVideoQA(backbone, CaptionStore.open(":memory:"), config) as engine:
        session = engine.open("film")
        captioned = list(session.caption_clips(clips(3)))
        return captioned, session.ask("What was there at 0:03?").text, engine.store.captions("film")


@pytest.fixture
def heads_read(monkeypatch):
    """How many heads the caches had that decode steps read."""
    found, real = set(), rlivs_kernels.decode_attention

    def spy(query, key, *rest, **options):
        found.add(key.shape[1])
        return real(query, key, *rest, **options)

    monkeypatch.setattr(rlivs_kernels, "decode_attention", spy)
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_a_stream_leaves_what_it_leaves_on_a_cpu(tmp_path, gpu, heads_read, name):
    cpu, on_gpu = on_both(tmp_path, name)
    for scoring in ("deferred", "fused"):
        expected, said, stored = watched(cpu, scoring=scoring)
        found, answer, kept = watched(on_gpu, scoring=scoring)
        assert answer == said
        for one, other, record, expected_record in zip(found, expected, kept, stored, strict=True):
            assert (one.caption, one.selected) == (other.caption, other.selected)
            assert (record.text, record.selected) == (expected_record.text, expected_record.selected)
            np.testing.assert_allclose(one.scores, other.scores, rtol=1e-3, atol=1e-6)
            torch.testing.assert_close(one.tokens.embeddings.cpu(), other.tokens.embeddings, rtol=1e-3, atol=1e-4)
    decoder = on_gpu.model.get_decoder()
    assert graph.can_capture(on_gpu.model) == (decoder in graph._last_graphs) == (name not in SLIDING)
    assert decoder not in graph._refused
    if name not in SLIDING:  # keys and values are not repeated for every head, in a captured step neither
        assert heads_read == {decoder.config.num_key_value_heads}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llava_onevision", "qwen3_5"])
def test_the_host_waits_no_more_for_longer_captions(tmp_path, gpu, name):
    if gpu is None:
        pytest.skip("a real GPU does not count the waits")
    _, backbone = on_both(tmp_path, name)
    backbone.eos_token_ids = ()
    backbone.model.generation_config.eos_token_id = None
    waits = []
    for length in (6, 6, 20):
        gpu.waits.clear()
        captioned, _, _ = watched(backbone, max_caption_tokens=length)
        assert [clip.num_caption_tokens for clip in captioned] == [length] * 3
        waits.append(len(gpu.waits))
    assert waits[1] == waits[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(FAMILIES) - SLIDING))
def test_a_prompt_is_launched_without_a_wait(tmp_path, gpu, name):
    if gpu is None:
        pytest.skip("a real GPU does not count the waits")
    _, backbone = on_both(tmp_path, name)
    prompt = backbone.text_prompt("What is red?")
    with torch.no_grad():
        gpu.waits.clear()
        steps = begin_steps(backbone.model, prompt, 5)
        steps.prefill()
        for _ in range(4):
            steps.step()
    assert gpu.waits == []


@pytest.fixture
def two_gpus():
    if torch.cuda.device_count() == 1:
        pytest.skip("there is one GPU; none, or two, are enough")
    if torch.cuda.is_available():
        yield
    else:
        with stand_in_gpu(2):
            yield


def spread(model):
    """The later layers, the norm and the head on the second GPU; inputs follow, as accelerate lets them."""

    def place(module, device):
        def follow(module, args, kwargs):
            return tree_map(lambda x: x.to(device) if isinstance(x, torch.Tensor) else x, (args, kwargs))

        module.to(device).register_forward_pre_hook(follow, with_kwargs=True)

    decoder = model.get_decoder()
    model.to("cuda:0")
    for index, layer in enumerate(decoder.layers):
        place(layer, f"cuda:{int(index >= len(decoder.layers) // 2)}")
    place(decoder.norm, "cuda:1")
    place(model.get_output_embeddings(), "cuda:1")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llava_onevision", "qwen2_5_vl", "qwen3_vl", "qwen3_5"])
def test_a_model_spread_over_two_gpus(tmp_path, two_gpus, name):
    cpu, spread_out = load_tiny_backbone(tmp_path, name), load_backbone(tmp_path, device="cpu")
    spread(spread_out.model)
    assert {parameter.device.index for parameter in spread_out.model.get_decoder().parameters()} == {0, 1}
    for scoring in ("deferred", "fused"):
        expected, said, _ = watched(cpu, scoring=scoring, layers="all")
        found, answer, _ = watched(spread_out, scoring=scoring, layers="all")
        assert answer == said
        for one, other in zip(found, expected, strict=True):
            assert (one.caption, one.selected) == (other.caption, other.selected)
            np.testing.assert_allclose(one.scores, other.scores, rtol=1e-3, atol=1e-6)
