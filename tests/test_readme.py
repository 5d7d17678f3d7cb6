"""Every command and every block of code in the README does what it says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from documents import run

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def python_block(marker):
    (block,) = [block for block in blocks("python") if marker in block]
    return block


def test_every_block_is_run_here():
    """A new block in the README needs a test in this file."""
    assert len(blocks("bash")) == 6
    assert len(blocks("python")) == 4
    assert re.findall(r"```(\w*)\n", README).count("") == len(blocks("bash")) + len(blocks("python"))


def test_make_has_the_two_commands():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in blocks("bash")[0].splitlines():
        name = re.match(r"make (\w+)", line).group(1)
        assert re.search(rf"^{name}:", makefile, flags=re.MULTILINE)


@pytest.mark.xdist_group("build")
def test_installing(tmp_path):
    """Without what it depends on, which is here, and without the CUDA kernels, whose build other tests hold."""
    install, doctor = blocks("bash")[1].splitlines()
    assert doctor == "rlivs doctor"
    done = subprocess.run(
        [sys.executable, "-m", *install.split(), "--no-deps", "--no-build-isolation", "--target", tmp_path],
        cwd=ROOT, env={**os.environ, "RLIVS_BUILD_CUDA": "0"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = subprocess.run(
        [sys.executable, "-c", "import rlivs; print(rlivs.__file__); from rlivs.cli import main; main()", "doctor"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(str(tmp_path)) and "column_sums" in told.stdout


def test_commands(beside_a_video):
    for line in blocks("bash")[2].splitlines():
        done = run(line)
        assert done.returncode == 0, (line, done.stderr)
    assert (beside_a_video / "heat.png").stat().st_size > 1000


def test_live(beside_a_video, serving):
    """The lines about a camera, which is a film here; the server is asked what its page would ask."""
    watch, serve = (line.replace("rtsp://camera/door", "video.mp4") for line in blocks("bash")[3].splitlines())
    done = run(watch, input="What happened?\n")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^0:00-0:\d\d  \w", done.stdout, flags=re.MULTILINE), done.stdout
    address = serving(serve.removeprefix("rlivs serve ").replace("live.db", "other.db"))
    assert "<title>" in httpx.get(address, trust_env=False).text
    streams = httpx.get(f"{address}/api/streams", trust_env=False).json()["streams"]
    assert [stream["stream"] for stream in streams] == ["door"]


def test_asking_a_file_of_questions(beside_a_video):
    Path("questions.jsonl").write_text(json.dumps({"video": "video", "question": "What moves?", "answer": "a star"}))
    done = run(blocks("bash")[4].strip())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("memory, all: "), done.stdout


def test_measuring(beside_a_video):
    for line in blocks("bash")[5].splitlines():
        done = run(line)
        assert done.returncode == 0, (line, done.stderr)
    for name in ("kernels.csv", "pipeline.csv", "quality/tokens_kept.csv"):
        assert (beside_a_video / name).read_text().count("\n") > 2


def test_library_use(beside_a_video, capsys):
    exec(python_block('engine.open("camera-1"'), namespace := {})
    namespace["engine"].close()
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) >= 3


def test_the_large_model_is_loaded_by_the_same_call(monkeypatch):
    """The block for a GPU, with the names of its model and device changed for those at hand."""
    block = python_block("llava-hf/").replace("llava-hf/llava-onevision-qwen2-7b-ov-hf", "tiny-onevision")
    block = block.replace('"captions.db"', '":memory:"').replace('"cuda"', '"cpu"')
    exec(block, namespace := {})
    namespace["engine"].close()


def test_patch_a_model():
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        video_token_id=63,
        hidden_size=32,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_hidden_layers=4,
        intermediate_size=32,
        vocab_size=64,
    )
    model = Qwen2ForCausalLM(config).eval()
    ids = torch.randint(4, 63, (1, 20))
    ids[:, 3:16] = config.video_token_id
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "max_new_tokens": 5, "do_sample": False}
    namespace = {"model": model, "inputs": inputs}
    exec(python_block("rlivs.patch("), namespace)
    assert namespace["scores"].shape == (1, 12)


def test_tensors_alone():
    import torch

    query, key = torch.randn(1, 28, 4, 128), torch.randn(1, 4, 3174, 128)
    namespace = {"query": query, "key": key}
    exec(python_block("import rlivs_kernels as rk"), namespace)
    assert namespace["scores"].shape == (1, 3136)
    assert namespace["kept"].shape == (1, 196)
