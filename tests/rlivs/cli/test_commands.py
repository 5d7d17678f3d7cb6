"""What each command prints and writes."""

import json
import shutil

import pytest
from PIL import Image

from rlivs_kernels import cuda_module


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


FAST = ("--fps", "4", "--set", "max_caption_tokens=24")


def test_caption_then_ask_then_heatmap(rlivs, film, tmp_path):
    memory = tmp_path / "captions.db"
    captioned = rlivs("caption", film, "--memory", memory, "--report", tmp_path / "report.html", *FAST)
    assert captioned.code == 0
    assert [line[:9] for line in captioned.out.splitlines()] == ["0:00-0:04", "0:04-0:08", "0:08-0:09"]
    assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")

    answered = rlivs("ask", "What happened at 0:04?", "--memory", memory)
    assert answered.code == 0
    assert "from 3 captions up to 0:09" in answered.out

    drawn = rlivs("heatmap", "1", "--memory", memory, "--out", tmp_path / "heat.png")
    assert drawn.code == 0
    assert Image.open(tmp_path / "heat.png").size[0] > 200


def test_json(rlivs, film, captioned, tmp_path):
    memory = tmp_path / "captions.db"
    clips = lines(rlivs("caption", film, "--memory", memory, "--json", *FAST).out)
    assert [clip["index"] for clip in clips] == [0, 1, 2]
    assert set(clips[0]) == {"stream", "index", "start", "end", "text", "selected"}
    (answer,) = lines(rlivs("ask", "What happened at 0:04?", "--memory", captioned, "--at", "0:08", "--json").out)
    assert answer["at"] == 8
    assert [cited["end"] for cited in answer["citations"]] == [4, 8]
    (report,) = lines(rlivs("doctor", "--json").out)
    assert report["model"]["tiny-onevision"] is True
    assert report["packages"]["transformers"]


def test_doctor_reads_well(rlivs):
    outcome = rlivs("doctor")
    assert outcome.code == 0
    assert "transformers: " in outcome.out
    assert "{" not in outcome.out
    assert "tiny-onevision: yes" in outcome.out
    # Where the CUDA extension was not built, what the build or the import said.
    assert f"error: {cuda_module.status()['error'] or 'none'}" in outcome.out


def test_resume_adds_only_what_is_missing(rlivs, film, tmp_path):
    memory = tmp_path / "captions.db"
    rlivs("caption", film, "--memory", memory, *FAST)
    again = rlivs("caption", film, "--memory", memory, "--resume", *FAST)
    assert (again.code, again.out) == (0, "")
    assert "3 clips" in again.err


def test_config_file_and_command_line(rlivs, film, tmp_path):
    (tmp_path / "options.yaml").write_text("fps: 1\nmax_caption_tokens: 24\n")
    outcome = rlivs("caption", film, "--memory", tmp_path / "c.db", "--config", tmp_path / "options.yaml", "--fps", "4")
    assert len(outcome.out.splitlines()) == 3


def test_no_bar_where_there_is_no_terminal(rlivs, film, tmp_path):
    outcome = rlivs("caption", film, "--memory", tmp_path / "c.db", *FAST)
    assert "\x1b" not in outcome.err + outcome.out
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize("command", ["demo", "caption", "ask", "heatmap", "doctor"])
def test_help(rlivs, command):
    outcome = rlivs(command, "--help")
    assert outcome.code == 0
    assert "--json" in outcome.out


def test_a_moved_video_is_named(rlivs, captioned, film, tmp_path):
    copy = shutil.copy(film, tmp_path / "moved.mp4")
    memory = tmp_path / "c.db"
    rlivs("caption", copy, "--memory", memory, *FAST)
    (tmp_path / "moved.mp4").unlink()
    outcome = rlivs("heatmap", "0", "--memory", memory)
    assert outcome.code == 2
    assert "no longer at" in outcome.err
