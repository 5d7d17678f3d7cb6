"""Options: the paper's defaults, and one clear line for each mistake."""

import pytest

from rlivs.config import PipelineConfig, load_config, make_config
from rlivs.errors import InputError


def test_defaults_are_the_papers():
    config = PipelineConfig()
    assert (config.fps, config.frames_per_clip, config.memory_slots) == (0.5, 16, 16)
    assert config.tokens_to_keep(3136) == 196
    assert (config.mmr_lambda, config.context_budget, config.max_caption_tokens) == (0.5, 10_000, 1024)
    assert config.layers == "auto"
    assert config.include_last_prompt_row


@pytest.mark.parametrize(("columns", "kept"), [(256, 16), (16, 1), (1, 1), (48, 3)])
def test_fraction_keeps_at_least_one_token(columns, kept):
    assert PipelineConfig().tokens_to_keep(columns) == kept


def test_fixed_number_is_capped_by_a_short_clip():
    assert PipelineConfig(keep_tokens=20).tokens_to_keep(16) == 16
    assert PipelineConfig(keep_tokens=20).tokens_to_keep(256) == 20


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"fps": 0}, "fps"),
        ({"fps": float("nan")}, "fps"),
        ({"frames_per_clip": 0}, "frames_per_clip"),
        ({"keep_fraction": 1.5}, "keep_fraction"),
        ({"keep_tokens": 0}, "keep_tokens"),
        ({"memory_slots": -1}, "memory_slots"),
        ({"mmr_lambda": 2}, "mmr_lambda"),
        ({"scoring": "eager"}, "scoring"),
        ({"layers": "some"}, "layers"),
        ({"answer_prompt": "{question}"}, "answer_prompt"),
        ({"answer_prompt": "{captions} {question} {x}"}, "other braces"),
        ({"answer_prompt": "{captions} {question} {"}, "other braces"),
        ({"answer_prompt": "{{captions}} {{question}}"}, "other braces"),
        ({"frames": 8}, "unknown option 'frames'"),
    ],
)
def test_wrong_options_are_named(options, names):
    with pytest.raises(InputError) as raised:
        make_config(options)
    assert names in str(raised.value)
    assert "\n" not in str(raised.value)


def test_yaml_then_overrides(tmp_path):
    path = tmp_path / "options.yaml"
    path.write_text("fps: 2\nlayers: [0, 3]\n")
    config = load_config(path, {"fps": 4.0, "memory_slots": None})
    assert (config.fps, config.layers, config.memory_slots) == (4.0, (0, 3), 16)


@pytest.mark.parametrize("text", ["- 1\n", "fps: [\n", "fps: 2\nfps2: 1\n"])
def test_bad_yaml(tmp_path, text):
    path = tmp_path / "options.yaml"
    path.write_text(text)
    with pytest.raises(InputError):
        load_config(path)


def test_missing_config_file(tmp_path):
    with pytest.raises(InputError, match="cannot read the config file"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("given", "layers"), [("1,2", (1, 2)), (3, (3,)), ("4", (4,)), ([0, 5], (0, 5)), ("all", "all")]
)
def test_layers_as_a_command_line_has_them(given, layers):
    assert make_config({"layers": given}).layers == layers


def test_a_mistake_of_all_options_together_names_its_own():
    with pytest.raises(InputError, match=r"^answer_prompt must contain"):
        make_config({"answer_prompt": "What?"})
