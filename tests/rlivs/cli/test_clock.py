"""Recordings and cameras by the wall clock, on the command line."""

import json

import pytest

pytestmark = pytest.mark.usefixtures("berlin")
FAST = ("--fps", "4", "--set", "max_caption_tokens=24")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clock")


def test_a_recording_that_began_at_a_known_moment(rlivs, film, tmp_path):
    memory = tmp_path / "captions.db"
    begin = ("--starts-at", "2031-05-06 23:59:54")
    captioned = rlivs("caption", film, "--memory", memory, *begin, "--report", tmp_path / "report.html", *FAST)
    assert captioned.code == 0, captioned.err
    spans = [line.partition("  ")[0] for line in captioned.out.splitlines()]
    assert spans == [
        "2031-05-06 23:59:54-23:59:58", "2031-05-06 23:59:58-2031-05-07 00:00:02", "2031-05-07 00:00:02-00:00:03",
    ]  # fmt: skip
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "2031-05-06 23:59:58–2031-05-07 00:00:02" in report and ">00:00:00<" in report

    answered = rlivs("ask", "What happened at 23:59?", "--memory", memory, "--at", "2031-05-07 00:00:02")
    assert "from 2 captions up to 2031-05-07 00:00:02:" in answered.out and spans[1] in answered.out
    [answer] = rlivs("ask", "What was yesterday?", "--memory", memory, "--at", "00:00:02", "--json").objects
    assert answer["at"] == 8
    assert answer["citations"][1]["clock"] == ["2031-05-06T23:59:58+02:00", "2031-05-07T00:00:02+02:00"]

    assert rlivs("memory", "list", "--memory", memory).out.split("  ")[2] == "2031-05-06 23:59:54-2031-05-07 00:00:03"
    shown = rlivs("memory", "show", "--memory", memory, "--from", "23:59:59", "--to", "00:00:01").out.splitlines()
    assert [line.partition("  ")[0] for line in shown] == [spans[1]]
    [first, *_] = rlivs("memory", "show", "--memory", memory, "--json").objects
    assert first["clock"][0] == "2031-05-06T23:59:54+02:00"
    rlivs("memory", "export", tmp_path / "door.jsonl", "--memory", memory)
    assert json.loads((tmp_path / "door.jsonl").read_text().splitlines()[0]) == first
    assert rlivs("heatmap", "0", "--memory", memory, "--out", tmp_path / "heat.png").code == 0
    assert rlivs("caption", film, "--memory", memory, "--resume", *FAST).code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["caption", "FILM", "--starts-at", "noon"], "is no date and time; write it as"),
        (["caption", "FILM", "--starts-at", "2031-05-06"], "is no date and time; write it as"),
        (["ask", "What?", "--at", "25:00"], "is no time; write 14:05"),
        (["memory", "show", "--from", "2031-05-32"], "is no time; write 14:05"),
    ],
)
def test_mistakes(rlivs, film, folder, arguments, words):
    memory = folder / "captions.db"
    if not memory.exists():
        assert rlivs("caption", film, "--memory", memory, "--starts-at", "2031-05-06 14:05", *FAST).code == 0
    told = rlivs(*(film if each == "FILM" else each for each in arguments), "--memory", memory)
    assert told.code == 2 and words in told.err and len(told.err.splitlines()) == 1
