"""Every command and every block of code in docs/ does what it says."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from documents import cut_film, run
from PIL import Image
from tiny_models import load_tiny_backbone

from rlivs.backbones.loading import FAMILIES
from rlivs.config import PipelineConfig
from rlivs.evaluation import format_names

ROOT = Path(__file__).resolve().parents[1]
LIVE = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
EVALUATION = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
OPTIONS = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
BACKBONE = (ROOT / "docs" / "add-a-backbone.md").read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_every_block_is_run_here():
    """A new block needs a test in this file."""
    assert [len(blocks(LIVE, kind)) for kind in ("python", "bash")] == [2, 4]
    assert [len(blocks(BACKBONE, kind)) for kind in ("python", "bash")] == [1, 0]
    assert [len(blocks(EVALUATION, kind)) for kind in ("bash", "json")] == [2, 1]
    for text, number in ((LIVE, 6), (BACKBONE, 1), (EVALUATION, 3)):
        assert text.count("```") == 2 * number


class Enough(Exception):
    pass


def test_watching_from_python(beside_a_video):
    printed = []

    def show(*words):
        printed.append(words)
        if len(words) == 1:  # the answer
            raise Enough

    block = blocks(LIVE, "python")[0].replace("rtsp://camera/door", "video.mp4")
    with pytest.raises(Enough):
        exec(block, {"print": show})
    assert any(words[1] == "caption" for words in printed[:-1])
    assert printed[-1][0]


def test_times_of_day(beside_a_video):
    """A camera of this machine, and the film as a recording."""
    watch, *others = blocks(LIVE, "bash")[0].splitlines()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    publisher = [sys.executable, str(ROOT / "tests" / "rlivs" / "live" / "publisher.py")]
    watch = watch.replace("rtsp://camera/door", f"udp://127.0.0.1:{port}").replace(
        "rlivs ", f"{sys.executable} -m rlivs.cli "
    )
    with (
        subprocess.Popen([*publisher, f"udp://127.0.0.1:{port}?pkt_size=1316", "mpegts", "10"]) as camera,
        subprocess.Popen(
            f"exec {watch}", shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        ) as watching,
    ):
        try:
            told = watching.stdout.readline()
        finally:
            watching.kill()
            camera.kill()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d-\d\d:\d\d:\d\d  \S", told), told
    for line in others:
        done = run(line)
        assert done.returncode == 0, (line, done.stderr)
    assert "  2031-05-04 14:05:08-14:05:16  " in done.stdout


def test_memory_commands(beside_a_video):
    assert run("rlivs caption video.mp4 --memory live.db --stream door --fps 8").returncode == 0
    for line in blocks(LIVE, "bash")[1].splitlines():
        done = run(line)
        assert done.returncode == 0, (line, done.stderr)
    assert "-->" in (beside_a_video / "door.srt").read_text()


def test_questions_of_a_file(beside_a_video):
    """The first block asks the second; the last needs a server, its parts are held to what they name."""
    Path("videos").mkdir()
    cut_film(Path("videos/kitchen.mp4"), 17)
    Path("questions.jsonl").write_text(blocks(EVALUATION, "json")[0])
    done = run(blocks(EVALUATION, "bash")[0].strip())
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^([\w-]+, \w+): ", done.stdout, flags=re.MULTILINE) == [
        "memory, all", "memory, who", "recent-frames, all", "recent-frames, who",
    ]  # fmt: skip
    install, judge = blocks(EVALUATION, "bash")[1].splitlines()
    extra = re.search(r"\[(\w+)\]", install).group(1)
    assert re.search(rf"^{extra} = ", (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    refused = run(judge.replace("8001", "9"))  # where no server listens
    assert refused.returncode == 2 and "cannot be asked" in refused.stderr, refused.stderr
    table = re.findall(r"^\| `(\w+)` \|", EVALUATION, flags=re.MULTILINE)
    assert sorted(table) == format_names()


def test_serving(beside_a_video, serving):
    """The server's own line, OpenAI's client, and the lines of curl."""
    install, serve = blocks(LIVE, "bash")[2].splitlines()
    extra = re.search(r"\[(\w+)\]", install).group(1)
    assert re.search(rf"^{extra} = ", (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    cut_film(beside_a_video / "film.mp4", 9)
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save("frame.jpg")
    address = serving(serve.removeprefix("rlivs serve ").replace("rtsp://camera/door", "video.mp4"))

    create, push, follow = (line.replace("localhost:8000", address) for line in blocks(LIVE, "bash")[3].splitlines())
    created = subprocess.run(f"{create} -sf", shell=True, check=True, capture_output=True, text=True)
    assert json.loads(created.stdout)["stream"] == "desk"
    pushed = subprocess.run(f"{push} -sf", shell=True, check=True, capture_output=True, text=True)
    assert json.loads(pushed.stdout)["width"] == 64
    with subprocess.Popen(f"exec {follow} -sf", shell=True, stdout=subprocess.PIPE, text=True) as events:
        assert events.stdout.readline() == "event: hello\n"
        events.terminate()

    captioned = f"{address}/api/streams/door/events"
    with subprocess.Popen(["curl", "-sfN", captioned], stdout=subprocess.PIPE, text=True) as events:
        next(line for line in events.stdout if line == "event: caption\n")
        events.terminate()
    printed = []
    exec(blocks(LIVE, "python")[1].replace("http://127.0.0.1:8000", address), {"print": lambda *w: printed.append(w)})
    assert printed and all(words for words in printed)


def test_the_table_of_options():
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", OPTIONS, flags=re.MULTILINE)
    expected = []
    for name, field in PipelineConfig.model_fields.items():
        default = {"None": "null", "True": "true", "False": "false"}.get(str(field.default), str(field.default))
        shown = "see below" if "\n" in default else f"`{default}`"
        expected.append((name, shown, field.description))
    assert rows == expected
    assert blocks(OPTIONS, "text") == [PipelineConfig().answer_prompt + "\n"]


def test_the_backbone_that_is_added(tmp_path, monkeypatch):
    """The walk-through's class gives the prompt that the package's own gives."""
    own = load_tiny_backbone(tmp_path / "own", "llava_next_video")
    monkeypatch.setitem(FAMILIES, "llava_next_video", FAMILIES["llava_next_video"])
    exec(blocks(BACKBONE, "python")[0], {})
    added = load_tiny_backbone(tmp_path / "added", "llava_next_video")
    assert type(added).__name__ == "NextVideo" and type(own) is not type(added)
    frames = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
    visual = own.encode(frames), added.encode(frames)
    kept = visual[0].select(0, torch.arange(2))
    first, second = (
        each.caption_prompt(seen, [kept], "What is it?") for each, seen in zip((own, added), visual, strict=True)
    )
    assert torch.equal(first.inputs_embeds, second.inputs_embeds)
    assert first.columns == second.columns
