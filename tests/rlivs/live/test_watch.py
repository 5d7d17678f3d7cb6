"""`rlivs watch` and `rlivs memory`, run in this process as a shell would run them."""

import json
from pathlib import Path

import pytest
from command import runner
from tiny_models import save_tiny_checkpoint

import rlivs as rlivs_package
from rlivs.cli.line_editor import LineEditor
from rlivs.cli.options import name_of
from rlivs.cli.watch_view import event_line, status_line
from rlivs.clock import COUNTED
from rlivs.errors import InputError
from rlivs.memory.store import Caption, CaptionStore
from rlivs.streaming.service import Event, StreamStatus

DEMO = Path(rlivs_package.__file__).parent / "assets" / "demo" / "demo.mp4"
OPTIONS = ["--fps", 4, "--set", "frames_per_clip=4", "--set", "max_caption_tokens=6", "--set", "max_answer_tokens=6"]


@pytest.fixture
def rlivs(monkeypatch, capsys):
    return runner(monkeypatch, capsys)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model", "llava_onevision")


def test_a_film_is_watched_and_asked_about(rlivs, checkpoint, film, tmp_path):
    memory = tmp_path / "captions.db"
    watched = rlivs(
        "watch", film, "--memory", memory, "--model", checkpoint, *OPTIONS, "--json", typed="What is there now?\n\n"
    )
    assert watched.code == 0, watched.err
    captions = [each for each in watched.objects if each["event"] == "caption"]
    assert [caption["index"] for caption in captions] == list(range(9))
    [answer] = [each for each in watched.objects if each["event"] == "answer"]
    assert answer["question"] == "What is there now?"
    with CaptionStore.open(memory, create=False) as store:
        assert [c.text for c in store.captions("film")] == [caption["text"] for caption in captions]

    # What `rlivs caption` began, `rlivs watch` continues: there is nothing left to do here.
    again = rlivs("watch", film, "--memory", memory, "--model", checkpoint, *OPTIONS, "--resume")
    assert (again.code, again.out) == (0, "") and "9 clips of stream 'film'" in again.err
    assert rlivs("watch", film, "--memory", memory, "--model", checkpoint, *OPTIONS).code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["/nowhere/film.mp4"], "no video at"),
        ([DEMO, "--clock"], "is no live source and has no clock"),
        (["rtsp://x", "--answer-from", "dreams"], "answer_from"),
        (["rtsp://x", "--option", "rtsp_flags"], "NAME=VALUE"),
    ],
)
def test_a_mistake_is_said_before_the_model_is_loaded(rlivs, arguments, words):
    outcome = rlivs("watch", *arguments)
    assert outcome.code == 2 and words in outcome.err and len(outcome.err.splitlines()) == 1


def test_a_camera_that_never_sends_is_given_up(rlivs, checkpoint, free_port, tmp_path):
    outcome = rlivs(
        "watch", f"tcp://127.0.0.1:{free_port}", "--memory", tmp_path / "c.db", "--model", checkpoint, *OPTIONS,
        "--give-up-after", 0.2, "--stream", "camera",
    )  # fmt: skip
    assert outcome.code == 2 and "given up" in outcome.err
    assert outcome.out.splitlines()[0] == "-- connecting: Connection refused; trying again --"


@pytest.fixture
def memory(tmp_path):
    path = tmp_path / "captions.db"
    with CaptionStore.open(path) as store:
        store.create_stream("door", source="rtsp://door", settings={})
        for index in range(4):
            if index == 2:
                store.add_gap("door", 80.0, 90.0, "lost")
            store.append(
                Caption("door", index, 40.0 * index, 40.0 * index + 40, f"caption {index}", 2, (1, 2)),
                embedding=[1.0, 0.0],
                embedder_id="e",
                visual=None,
            )
    return path


def test_memory_list(rlivs, memory):
    assert rlivs("memory", "list", "--memory", memory).out == "door  4 captions, 1 gaps  0:00-2:40  rtsp://door\n"
    [stream] = rlivs("memory", "list", "--memory", memory, "--json").objects
    assert (stream["stream"], stream["captions"], stream["gaps"], stream["end"]) == ("door", 4, 1, 160.0)


def test_memory_show(rlivs, memory):
    shown = rlivs("memory", "show", "--memory", memory, "--from", "0:50", "--to", "1:25").out.splitlines()
    assert shown == ["0:40-1:20  caption 1", "1:20-1:30  -- no picture: lost --", "1:20-2:00  caption 2"]
    shown = rlivs("memory", "show", "--memory", memory, "--from", "0:50", "--to", "1:20").out.splitlines()
    assert shown == ["0:40-1:20  caption 1"]
    assert [each["kind"] for each in rlivs("memory", "show", "--memory", memory, "--json").objects] == [
        "caption", "caption", "gap", "caption", "caption",
    ]  # fmt: skip


def test_memory_export(rlivs, memory, tmp_path):
    assert rlivs("memory", "export", tmp_path / "door.srt", "--memory", memory).code == 0
    blocks = (tmp_path / "door.srt").read_text().split("\n\n")
    assert blocks[1] == "2\n00:00:40,000 --> 00:01:20,000\ncaption 1"
    assert rlivs("memory", "export", tmp_path / "door.jsonl", "--memory", memory).code == 0
    lines = [json.loads(line) for line in (tmp_path / "door.jsonl").read_text().splitlines()]
    assert [line["serial"] for line in lines] == [0, 1, 2, 3, 4] and lines[4]["selected"] == [1, 2]
    assert "--format" in rlivs("memory", "export", tmp_path / "door.txt", "--memory", memory).err


def test_memory_prune(rlivs, memory):
    assert rlivs("memory", "prune", "--memory", memory, "--older-than", "1m", "--json").objects == [
        {"stream": "door", "deleted": 2}
    ]
    assert rlivs("memory", "prune", "--memory", memory, "--keep-last", 1).code == 0
    assert rlivs("memory", "show", "--memory", memory).out.splitlines()[-1] == "2:00-2:40  caption 3"
    assert rlivs("memory", "prune", "--memory", memory).code == 2
    assert "24h" in rlivs("memory", "prune", "--memory", memory, "--older-than", "soon").err


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("rtsp://camera/door", "door"), ("rtsp://camera/h264?channel=1", "h264"), ("http://a/b/live.m3u8", "live"),
        ("udp://0.0.0.0:5000", "udp-0.0.0.0-5000"), ("tcp://0.0.0.0:5000?listen=1", "tcp-0.0.0.0-5000"),
        ("webcam:0", "webcam-0"), ("/dev/video0", "video0"), ("films/a film.mp4", "a-film"),
    ],
)  # fmt: skip
def test_a_name_where_none_is_given(source, name):
    assert name_of(source) == name


def test_no_name_is_left():
    with pytest.raises(InputError, match="has no name of its own; give it one"):
        name_of("видео.mp4")


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("who?\n", "who?"),
        ("whp\x7fo?\r", "who?"),
        ("\x7f\x7fa\n", "a"),
        ("nonsense\x15who?\n", "who?"),
        ("wh\x1b[Do\x1b[3~?\n", "who?"),  # arrows and Delete do nothing
        ("wéh\x7f?\n", "wé?"),
    ],
)
def test_typing_a_question(keys, line):
    editor = LineEditor()
    lines = [finished for finished in map(editor.press, keys) if finished is not None]
    assert lines == [line] and editor.text == ""


def test_lines_of_the_view():
    gap = Event(1, "gap", "a", {"start": 80.0, "end": 90.0, "reason": "lost"})
    assert event_line(gap, COUNTED) == "1:20-1:30  -- no picture: lost --"
    assert event_line(Event(1, "status", "a", {}), COUNTED) is None
    lost = Event(1, "status", "a", {"state": "reconnecting", "last_error": "the sender ended the stream"})
    assert event_line(lost, COUNTED) == "-- reconnecting: the sender ended the stream; trying again --"
    status = StreamStatus("a", "x", "running", 3, 1.25, 7, 0, 12.5, 3 * 2**20, None, None)
    assert status_line(status) == "running · 3 clips · lag 1.2 s · 7 frames dropped · 12.5 tokens/s · 3.0 MiB"
    absent = StreamStatus("a", "x", "connecting", 0, 0.0, 0, 0, 0.0, 0, "Connection refused", None)
    assert status_line(absent).startswith("connecting · Connection refused · 0 clips")
