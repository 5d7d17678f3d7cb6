"""Gemma 4's own: frames at a budget, pictures that see all of themselves, in pieces, too, memory as a picture."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from families import VARIANTS, gemma4
from families.family import FRAME, TEXT
from tiny_models import load_tiny_backbone, save_tiny_checkpoint
from transformers import DynamicCache
from transformers.models.gemma4.image_processing_pil_gemma4 import get_aspect_ratio_preserving_size
from transformers.video_utils import VideoMetadata

from rlivs.backbones import load_backbone
from rlivs.backbones.gemma4 import fit_budget
from rlivs.backbones.preprocessing import channels_first
from rlivs.decoding import generate_greedily, steps
from rlivs.errors import InputError
from rlivs.versions import cache_argument

PICTURE = 12  # tokens of a frame
PROCESSOR = "transformers.models.gemma4"


@pytest.fixture(scope="module", params=["gemma4", "gemma4-larger"])
def backbone(request, tmp_path_factory):
    return load_tiny_backbone(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    return save_tiny_checkpoint(tmp_path_factory.mktemp("larger"), "gemma4-larger")


def some_frames(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *FRAME, 3), dtype=np.uint8)


def encode(backbone, count, seed=0):
    return backbone.encode(some_frames(count, seed), tuple(index / 2 for index in range(count)))


def remembered(backbone, pictures):
    """All tokens of so many past frames, one picture when they are put before a clip."""
    clips = [encode(backbone, 1, seed=50 + index) for index in range(pictures)]
    return [clip.select(index, torch.arange(PICTURE)) for index, clip in enumerate(clips)]


def run_in_pieces(backbone, prompt, longest):
    """The last layer's states at all positions of a prompt, and the lengths of its pieces."""
    decoder = backbone.model.get_decoder()
    cache = {cache_argument(decoder): DynamicCache(config=decoder.config)}
    pieces = list(prompt.pieces(longest))
    with torch.no_grad():
        states = [decoder(**prompt.inputs(*piece), **cache, use_cache=True).last_hidden_state for piece in pieces]
    return torch.cat(states, dim=1), [stop - start for start, stop in pieces]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_remembered_frame_is_the_hubs_picture_before_the_video(backbone, attention, monkeypatch):
    for config in (backbone.model.config, backbone.model.config.text_config):
        monkeypatch.setattr(config, "_attn_implementation_internal", attention)
    prompt = backbone.caption_prompt(encode(backbone, 3), remembered(backbone, 1), TEXT)
    spelt = VARIANTS["gemma4"].spell(3).replace("00:00 ", f"<|image>{'<|image|>' * PICTURE}<image|>00:00 ", 1)
    ids = backbone.tokenizer(spelt, return_tensors="pt", add_special_tokens=False).input_ids
    image, video = (ids == backbone.tokenizer.convert_tokens_to_ids(token) for token in ("<|image|>", "<|video|>"))
    pixels = {}
    for name, visual, frames in (("image", image, some_frames(1, seed=50)), ("video", video, some_frames(3))):
        pixels[name] = VARIANTS["gemma4"].hub_pixels(channels_first(frames, torch.device("cpu")), visual)
    pixels["video"]["mm_token_type_ids"] = image + 2 * video
    with torch.no_grad():
        expected = backbone.model.model(
            input_ids=ids,
            pixel_values=pixels["image"]["pixel_values_videos"].reshape(1, -1, 3 * gemma4.PATCH**2),
            image_position_ids=pixels["image"]["video_position_ids"].reshape(1, -1, 2),
            **pixels["video"],
        ).last_hidden_state
    states, _ = run_in_pieces(backbone, prompt, prompt.length)
    torch.testing.assert_close(states, expected, rtol=0, atol=1e-4)


def test_pictures_see_what_comes_after_in_them_and_nothing_else_does(larger):
    """A change of one token reaches no earlier one, but those of its own picture."""
    backbone = load_backbone(larger, device="cpu")
    clip, memory = encode(backbone, 3), remembered(backbone, 2)
    prompt = backbone.caption_prompt(clip, memory, TEXT)
    states, _ = run_in_pieces(backbone, prompt, prompt.length)
    visual = (prompt.ids == backbone.tokenizer.pad_token_id).nonzero().flatten()
    spans = [visual[: 2 * PICTURE], *visual[2 * PICTURE :].split(PICTURE)]
    assert [len(span) for span in spans] == [2 * PICTURE, PICTURE, PICTURE, PICTURE]
    for place in range(0, prompt.length, 3):
        prompt.inputs_embeds[0, place] += 1.0
        changed, _ = run_in_pieces(backbone, prompt, prompt.length)
        prompt.inputs_embeds[0, place] -= 1.0
        reached = ((changed - states).abs().amax(-1)[0] > 1e-4).nonzero().flatten()
        own = [span for span in spans if place in span]
        assert reached[0] == (own[0][0] if own else place)


@pytest.fixture(scope="module", params=["gemma4", "gemma4-larger"])
def precise(request, tmp_path_factory):
    """In float64, which the experts' fast products have not."""
    directory = save_tiny_checkpoint(tmp_path_factory.mktemp("precise"), request.param)
    return load_backbone(directory, device="cpu", dtype=torch.float64, experts_implementation="eager")


@pytest.mark.parametrize("longest", [1, 7, 12, 13, 24, 40, 1000])
@pytest.mark.parametrize("pictures", [0, 1, 3])
def test_pieces_give_the_states_of_the_whole(precise, longest, pictures):
    prompt = precise.caption_prompt(encode(precise, 4), remembered(precise, pictures), TEXT)
    whole, _ = run_in_pieces(precise, prompt, prompt.length)
    states, lengths = run_in_pieces(precise, prompt, longest)
    assert sum(lengths) == prompt.length
    assert max(lengths) <= max(longest, PICTURE * max(1, pictures) if prompt.pictures is not None else 0)
    torch.testing.assert_close(states, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_caption_in_pieces_is_that_of_the_whole(larger, attention, monkeypatch):
    backbone = load_backbone(larger, device="cpu", attn_implementation=attention)
    clips = [(encode(backbone, 4, seed), remembered(backbone, seed)) for seed in range(3)]
    prompts = [backbone.caption_prompt(clip, memory, TEXT) for clip, memory in clips]
    whole = [generate_greedily(backbone, prompt, 8) for prompt in prompts]
    monkeypatch.setattr(steps, "PREFILL_CHUNK", 20)
    for prompt, text in zip(prompts, whole, strict=True):
        assert torch.equal(generate_greedily(backbone, prompt, 8), text)


def test_attention_that_cannot_see_all_of_a_picture_is_refused(larger, backbone, tmp_path):
    with pytest.raises(InputError, match="use 'sdpa'"):
        load_backbone(larger, device="cpu", attn_implementation="flex_attention")
    smaller = save_tiny_checkpoint(tmp_path, "gemma4")
    assert load_backbone(smaller, device="cpu", attn_implementation="flex_attention").grid == (2, 4)


def test_frames_of_any_shape_get_the_hubs_size():
    generator = np.random.default_rng(0)
    sizes = generator.integers(1, 3000, (2000, 2)).tolist()
    sizes += [[1080, 1920], [1920, 1080], [720, 1280], [480, 640], [48, 48], [1, 500], [500, 1], [10, 4000], [4000, 10]]
    for height, width in sizes:
        for budget in (70, 140, 280):
            expected = get_aspect_ratio_preserving_size(height, width, 16, budget * 9, 3)
            rows, columns = fit_budget(height, width, budget, 48)
            assert (rows * 48, columns * 48) == expected
            assert rows * columns <= budget
    assert fit_budget(1080, 1920, 70, 48) == (6, 11)


@pytest.mark.parametrize("shape", [(30, 40), (40, 30), (4, 300)])
def test_a_clip_has_the_grid_of_its_frames(backbone, shape):
    rows, columns = fit_budget(*shape, gemma4.BUDGET, gemma4.PATCH * gemma4.POOLED)
    clip = backbone.encode(np.zeros((2, *shape, 3), dtype=np.uint8))
    assert (clip.grid, clip.count) == ((rows, columns), 2 * rows * columns)
    prompt = backbone.caption_prompt(clip, [], TEXT)
    assert prompt.visual_scores(torch.ones(1, prompt.columns.stop - prompt.columns.start)).sum() == clip.count


def test_a_clip_is_written_as_the_hubs_processor_writes_it(backbone, monkeypatch):
    # The module of the processor wants one that needs torchvision, in some versions.
    stub = ModuleType(f"{PROCESSOR}.image_processing_gemma4")
    stub.Gemma4ImageProcessorKwargs = dict
    stub.get_aspect_ratio_preserving_size = get_aspect_ratio_preserving_size
    monkeypatch.setitem(sys.modules, stub.__name__, stub)
    from transformers.models.gemma4.processing_gemma4 import Gemma4Processor

    times = [0, 20, 59, 60, 61, 3601]
    clip = backbone.encode(some_frames(len(times)), [7.0 + time for time in times])
    hub = SimpleNamespace(boi_token="<|image>", eoi_token="<image|>", video_token="<|video|>")
    video = VideoMetadata(total_num_frames=4000, fps=1.0, frames_indices=times)
    inputs = {"num_soft_tokens_per_video": [PICTURE], "video_metadata": [video]}
    assert backbone.write_clip(clip) == Gemma4Processor.replace_video_token(hub, inputs, 0)
    assert "01:01 <|image>" in backbone.write_clip(clip)


def test_the_token_of_a_video_is_one_token_whether_or_not_the_tokenizer_knew_it(backbone):
    ids = backbone.chat.with_video(TEXT, "<|video|>" * 3)
    assert ids.count(backbone.model.config.video_token_id) == 3
    assert backbone.model.config.video_token_id >= backbone.model.get_input_embeddings().weight.shape[0]
    assert "<|video|>" not in backbone.chat.disarm("a <|video|> of")


def test_of_tokens_that_the_cap_makes_equal_the_one_of_generate_is_chosen(backbone, monkeypatch):
    logits = torch.zeros(backbone.model.get_input_embeddings().weight.shape[0])
    logits[70], logits[65] = 101.0, 100.0  # 4 tanh(25) is 4.0 in float32, as 4 tanh(25.25) is
    head = backbone.model.get_output_embeddings()
    monkeypatch.setattr(head, "forward", lambda hidden: logits.expand(*hidden.shape[:-1], -1))
    ids = torch.tensor([backbone.chat.alone(TEXT)])
    expected = backbone.model.generate(ids, max_new_tokens=3, do_sample=False)[:, ids.shape[1] :]
    assert expected.tolist() == [[65] * 3]
    assert torch.equal(generate_greedily(backbone, backbone.text_prompt(TEXT), 3), expected)
