"""Checkpoint directories: whole ones in every layout the hub has, and damaged ones, each with a line that says what."""

import json

import httpx
import huggingface_hub
import pytest
import torch
import transformers
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoTokenizer

from rlivs.backbones import load_backbone
from rlivs.backbones.loading import FAMILIES, find_family
from rlivs.decoding.graph import can_capture, only_device
from rlivs.errors import InputError
from rlivs.streaming import StreamingVideoQA


def refused(directory, **options):
    with pytest.raises(InputError) as caught:
        load_backbone(directory, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def encode_something(backbone):
    frames = torch.arange(2 * 20 * 30 * 3, dtype=torch.int64).reshape(2, 20, 30, 3).to(torch.uint8)
    return backbone.encode(frames).embeddings


def test_whole_directory(checkpoint):
    backbone = load_backbone(checkpoint)
    assert backbone.name == "tiny"
    assert backbone.grid == (3, 3)
    assert backbone.tokens_per_frame == 9
    assert backbone.max_positions == 4096
    assert backbone.tokenizer.decode(backbone.eos_token_ids) == "<|im_end|>"
    assert not backbone.model.training
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())


@pytest.mark.parametrize(
    "missing, named",
    [
        ("config.json", "config.json"),
        ("model.safetensors", "model.safetensors"),
        ("tokenizer.json", "tokenizer.json"),
        ("tokenizer_config.json", "tokenizer_config.json"),
        ("preprocessor_config.json", "preprocessor_config.json"),
        ("chat_template.jinja", "chat_template.jinja"),
    ],
)
def test_missing_file_is_named(checkpoint, missing, named):
    (checkpoint / missing).unlink()
    assert named in refused(checkpoint)


def test_all_missing_files_are_named_at_once(checkpoint):
    for name in ("model.safetensors", "tokenizer.json"):
        (checkpoint / name).unlink()
    message = refused(checkpoint)
    assert "model.safetensors" in message and "tokenizer.json" in message and "incomplete" in message


def test_empty_directory_and_no_directory_and_a_file(tmp_path):
    assert "config.json" in refused(tmp_path)
    assert "no model directory" in refused(tmp_path / "nowhere")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert "is a file" in refused(tmp_path / "model.safetensors")


def test_unknown_hub_name(monkeypatch):
    monkeypatch.setattr("transformers.utils.cached_file", lambda *args, **options: None)
    assert "no model 'nobody/nothing'" in refused("nobody/nothing")


@pytest.mark.parametrize("keep", [0, 7, 1000])
def test_cut_off_weights(checkpoint, keep):
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    message = refused(checkpoint)
    assert "weights" in message and "damaged" in message


def test_weights_that_lack_a_tensor(checkpoint):
    weights = load_file(checkpoint / "model.safetensors")
    name = next(name for name in weights if "layers.1.self_attn.q_proj.weight" in name)
    del weights[name]
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    message = refused(checkpoint)
    assert "lack 1 tensors" in message and "q_proj" in message


def test_weights_of_another_shape(checkpoint):
    weights = load_file(checkpoint / "model.safetensors")
    weights["lm_head.weight" if "lm_head.weight" in weights else next(iter(weights))] = torch.zeros(3, 3)
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    assert "cannot load the model" in refused(checkpoint)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", ['{"model_type": "llava', "[]", "\xff\xfe"])
def test_corrupt_json(checkpoint, name, content):
    (checkpoint / name).write_bytes(content.encode("latin-1"))
    assert "tiny" in refused(checkpoint)


def test_unknown_model_type_lists_the_known_ones(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "model_type": "not_a_model"}))
    message = refused(checkpoint)
    assert "'not_a_model'" in message
    assert all(known in message for known in FAMILIES)
    assert "encode, caption_prompt and text_prompt" in message and "docs/add-a-backbone.md" in message


def test_config_without_model_type(checkpoint):
    (checkpoint / "config.json").write_text("{}")
    assert "model_type" in refused(checkpoint)


def split_weights(checkpoint):
    """The same weights as the hub keeps large ones: two files and an index."""
    weights = load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    names = sorted(weights)
    index = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        shard = f"model-{number:05}-of-00002.safetensors"
        save_file({name: weights[name] for name in part}, checkpoint / shard, metadata={"format": "pt"})
        index.update(dict.fromkeys(part, shard))
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def test_sharded_weights(checkpoint, saved_llava):
    split_weights(checkpoint)
    assert torch.equal(encode_something(load_backbone(checkpoint)), encode_something(load_backbone(saved_llava)))


def test_missing_shard_and_missing_index(checkpoint):
    split_weights(checkpoint)
    (checkpoint / "model-00002-of-00002.safetensors").unlink()
    message = refused(checkpoint)
    assert "model-00002-of-00002.safetensors" in message and "model-00001" not in message
    (checkpoint / "model.safetensors.index.json").unlink()
    assert "model.safetensors.index.json" in refused(checkpoint)


def test_corrupt_index(checkpoint):
    split_weights(checkpoint)
    (checkpoint / "model.safetensors.index.json").write_text('{"weight_map": ')
    assert "model.safetensors.index.json" in refused(checkpoint)


def move_template(checkpoint, where):
    template = (checkpoint / "chat_template.jinja").read_text()
    (checkpoint / "chat_template.jinja").unlink()
    if where == "chat_template.json":
        (checkpoint / where).write_text(json.dumps({"chat_template": template}))
    else:
        path = checkpoint / "tokenizer_config.json"
        settings = json.loads(path.read_text())
        settings["chat_template"] = template if where == "tokenizer" else [{"name": "default", "template": template}]
        path.write_text(json.dumps(settings))


@pytest.mark.parametrize("where", ["chat_template.json", "tokenizer", "tokenizer, several"])
def test_chat_template_in_other_places(checkpoint, saved_llava, where):
    move_template(checkpoint, where)
    backbone, expected = load_backbone(checkpoint), load_backbone(saved_llava)
    assert backbone.chat.around_video("What?") == expected.chat.around_video("What?")


def test_the_processors_template_wins_over_the_tokenizers(checkpoint, saved_llava):
    move_template(checkpoint, "chat_template.json")
    path = checkpoint / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings["chat_template"] = "{{ messages[0]['content'] }}"
    path.write_text(json.dumps(settings))
    backbone, expected = load_backbone(checkpoint), load_backbone(saved_llava)
    assert backbone.chat.around_video("What?") == expected.chat.around_video("What?")


@pytest.mark.parametrize("template", ["{{ 'no video' }}", "{{ broken", "{{ messages[0].nothing.at.all }}"])
def test_template_that_knows_no_video(checkpoint, template):
    (checkpoint / "chat_template.jinja").write_text(template)
    assert "chat template" in refused(checkpoint)


@pytest.mark.parametrize("layout", ["video_preprocessor_config.json", "nested", "beside an image processor"])
def test_preprocessor_in_other_places(checkpoint, saved_llava, layout):
    settings = json.loads((checkpoint / "preprocessor_config.json").read_text())
    other = {**settings, "image_mean": [0.1, 0.1, 0.1]}
    if layout == "video_preprocessor_config.json":
        (checkpoint / layout).write_text(json.dumps(settings))
        (checkpoint / "preprocessor_config.json").write_text(json.dumps(other))
        (checkpoint / "processor_config.json").write_text(json.dumps({"num_image_tokens": 25}))
    elif layout == "nested":
        nested = {"image_processor": other, "video_processor": settings, "num_image_tokens": 25}
        (checkpoint / "processor_config.json").write_text(json.dumps(nested))
        (checkpoint / "preprocessor_config.json").unlink()
    else:
        (checkpoint / "processor_config.json").write_text(json.dumps({"num_image_tokens": 25}))
    assert torch.equal(encode_something(load_backbone(checkpoint)), encode_something(load_backbone(saved_llava)))


def test_preprocessor_that_says_nothing_of_pixels(checkpoint):
    (checkpoint / "preprocessor_config.json").write_text("{}")
    assert "image_mean" in refused(checkpoint)


def test_end_of_sequence_from_settings_or_tokenizer(checkpoint):
    path = checkpoint / "generation_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "eos_token_id": [5, 7]}))
    assert load_backbone(checkpoint).eos_token_ids == (5, 7)
    path.write_text(json.dumps({}))
    config = json.loads((checkpoint / "config.json").read_text())
    del config["text_config"]["eos_token_id"]
    (checkpoint / "config.json").write_text(json.dumps(config))
    backbone = load_backbone(checkpoint)
    assert backbone.tokenizer.decode(backbone.eos_token_ids) == "<|im_end|>"


class Spy:
    """Stands for the model class; notes how it was loaded and where it was moved."""

    def __init__(self, monkeypatch, real):
        self.options, self.moves = None, []
        monkeypatch.setattr("transformers.AutoModelForImageTextToText.from_pretrained", self.load)
        self._real = real

    def load(self, name, **options):
        self.options = options
        model = self._real(name, output_loading_info=True)[0]
        model.to = lambda target: self.moves.append(target) or model
        return model, {"missing_keys": []}


@pytest.fixture
def spy(monkeypatch):
    return Spy(monkeypatch, AutoModelForImageTextToText.from_pretrained)


def test_a_cpu_gets_float32_unless_told(checkpoint, spy):
    load_backbone(checkpoint, device="cpu")
    assert spy.options["dtype"] == torch.float32 and spy.moves == [torch.device("cpu")]
    load_backbone(checkpoint, device="cpu", dtype=torch.bfloat16)
    assert spy.options["dtype"] == torch.bfloat16


def test_a_mapped_model_is_never_moved(checkpoint, spy):
    load_backbone(checkpoint, device_map="auto", attn_implementation="eager")
    assert spy.moves == []
    assert spy.options["device_map"] == "auto"
    assert spy.options["attn_implementation"] == "eager"
    assert spy.options["dtype"] == "auto"


def test_a_quantised_model_is_made_in_place(checkpoint, spy):
    load_backbone(checkpoint, device="cpu", quantization_config="four bits")
    assert spy.moves == []
    assert spy.options["device_map"] == {"": torch.device("cpu")}
    assert spy.options["quantization_config"] == "four bits"
    load_backbone(checkpoint, device_map="auto", quantization_config="four bits")
    assert spy.options["device_map"] == "auto"


def test_a_checkpoint_that_is_quantised_is_made_in_place(checkpoint, monkeypatch):
    """Some formats choose their kernels by the device they are made on."""
    config = checkpoint / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"quantization_config": {"quant_method": "awq"}}))
    asked = {}

    def load(*arguments, **options):
        asked.update(options)
        raise ValueError("needs a GPU")

    monkeypatch.setattr("transformers.AutoModelForImageTextToText.from_pretrained", load)
    refused(checkpoint, device="cpu")
    assert asked["device_map"] == {"": torch.device("cpu")}


def test_device_and_device_map_contradict(checkpoint):
    message = refused(checkpoint, device="cpu", device_map="auto")
    assert "device" in message and "device_map" in message


@pytest.mark.parametrize("device", ["cuda:97", "gpu"])
def test_device_that_is_not_there(checkpoint, device):
    assert f"no device '{device}'" in refused(checkpoint, device=device)


def test_files_come_from_where_the_weights_come_from(checkpoint, monkeypatch, spy):
    asked = []

    def find(name, filename, **options):
        asked.append((name, filename, options["revision"]))
        path = checkpoint / filename
        return str(path) if path.is_file() else None

    monkeypatch.setattr("transformers.utils.cached_file", find)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", lambda name, revision: tokenizer)
    spy._real = lambda name, real=spy._real, **options: real(checkpoint, **options)
    backbone = load_backbone("someone/model", revision="v2", device="cpu")
    assert backbone.name == "someone/model"
    assert spy.options["revision"] == "v2"
    assert asked and all((name, revision) == ("someone/model", "v2") for name, _, revision in asked)


def test_find_family():
    assert find_family("llava_onevision") is FAMILIES["llava_onevision"]


def test_the_engine_hands_everything_on(checkpoint, spy):
    """Placement, precision and quantisation reach `from_pretrained` as they were given, and nothing else does."""
    quantisation, places = object(), {"model.language_model": 1, "": 0}
    options = {"device_map": places, "quantization_config": quantisation, "max_memory": {0: "20GiB", 1: "40GiB"}}
    with StreamingVideoQA.from_pretrained(checkpoint, dtype=torch.float16, attn_implementation="sdpa", **options):
        pass
    assert spy.moves == []
    assert spy.options == {
        "output_loading_info": True, "dtype": torch.float16, "attn_implementation": "sdpa", **options
    }  # fmt: skip
    assert spy.options["device_map"] is places and spy.options["quantization_config"] is quantisation


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_precision_reaches_the_weights(checkpoint, dtype):
    backbone = load_backbone(checkpoint, device="cpu", dtype=dtype)
    assert {parameter.dtype for parameter in backbone.model.parameters()} == {dtype}
    embeddings = encode_something(backbone)
    assert embeddings.dtype == dtype and embeddings.isfinite().all()


def test_a_model_on_several_devices_is_decoded_step_by_step(checkpoint):
    """No graph is captured across devices, and no clip is encoded on a stream of one of them."""
    model = load_backbone(checkpoint, device="cpu").model
    assert only_device(model) == torch.device("cpu")
    model.lm_head.to("meta")
    assert only_device(model) is None and not can_capture(model)


def test_a_missing_library_is_named(checkpoint, monkeypatch):
    def load(*args, **options):
        raise ImportError("\nTheTower requires the timm library but it was not found. You can install it:\n`pip`")

    monkeypatch.setattr("transformers.AutoModelForImageTextToText.from_pretrained", load)
    with pytest.raises(InputError, match=r"requires the timm library but it was not found; pip install it$"):
        load_backbone(checkpoint, device="cpu")


def test_a_hub_that_cannot_be_reached_is_no_missing_model(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    message = refused("some-one/some-model")
    assert (
        "'some-one/some-model' is not in the local cache, and the hub cannot be reached; check the network" in message
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (GatedRepoError, "is gated: accept its terms on the hub, then log in"),
        (RepositoryNotFoundError, "no model 'a/b'"),
    ],
)
def test_what_the_hub_refuses_is_said(monkeypatch, error, words):
    def cached_file(*arguments, **options):
        cause = error("the hub's own words", response=httpx.Response(403, request=httpx.Request("GET", "https://a")))
        raise OSError("a paragraph of advice") from cause

    monkeypatch.setattr(transformers.utils, "cached_file", cached_file)
    assert words in refused("a/b")
