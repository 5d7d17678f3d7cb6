"""Each mistake: one line that names the cure, exit code 2, no traceback, and a memory as it was."""

import shutil
import sqlite3
from contextlib import closing

import av
import numpy as np
import pytest
from films import write_film

from rlivs.backbones.checkpoint import embedded_checkpoint
from rlivs.memory.store import Caption, CaptionStore

FAST = ("--fps", "4", "--set", "max_caption_tokens=8")


def contents(memory):
    """Everything the file holds, as SQL text; None where there is no file."""
    if not memory.exists():
        return None
    with closing(sqlite3.connect(f"file:{memory}?mode=ro", uri=True)) as database:
        return list(database.iterdump())


def refused(outcome, *words):
    assert outcome.code == 2, outcome
    assert outcome.err.startswith("rlivs: error: "), outcome.err
    assert outcome.err.count("\n") == 1, outcome.err
    assert "Traceback" not in outcome.err + outcome.out
    assert outcome.out == ""
    for word in words:
        assert word in outcome.err, outcome.err


@pytest.fixture
def memory(captioned, tmp_path):
    """A copy of a filled memory, held to be the same after the test."""
    copy = tmp_path / "captions.db"
    shutil.copy(captioned, copy)
    before = contents(copy)
    yield copy
    assert contents(copy) == before


@pytest.fixture
def model(tmp_path):
    return shutil.copytree(embedded_checkpoint(), tmp_path / "model")


def test_missing_path(rlivs, memory):
    refused(rlivs("caption", "no-such.mp4", "--memory", memory, "--stream", "new"), "no-such.mp4")


def test_a_failed_command_makes_no_memory(rlivs, tmp_path):
    refused(rlivs("caption", "no-such.mp4", "--memory", tmp_path / "new.db"))
    refused(rlivs("ask", "What happened?", "--memory", tmp_path / "new.db"), "new.db")
    refused(rlivs("heatmap", "0", "--memory", tmp_path / "new.db"))
    assert not (tmp_path / "new.db").exists()


def test_not_a_video(rlivs, memory, tmp_path):
    (tmp_path / "notes.mp4").write_text("hello\n" * 100)
    refused(rlivs("caption", tmp_path / "notes.mp4", "--memory", memory, "--stream", "new"), "not a video")
    refused(rlivs("caption", tmp_path, "--memory", memory, "--stream", "new"), "directory")


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_truncated_mp4(rlivs, film, memory, tmp_path, share):
    whole = film.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: int(len(whole) * share)])
    refused(rlivs("caption", cut, "--memory", memory, "--stream", "new", *FAST), "cut off")


def test_truncated_mp4_with_its_index_in_front(rlivs, film, memory, tmp_path):
    front = tmp_path / "front.mp4"
    with av.open(str(film)) as source, av.open(str(front), "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    front.write_bytes(front.read_bytes()[:-1500])
    refused(rlivs("caption", front, "--memory", memory, "--stream", "new", *FAST), "cut off")


def test_no_video_stream(rlivs, memory, tmp_path):
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    refused(rlivs("caption", sound, "--memory", memory, "--stream", "new"), "only audio")


def test_zero_frames(rlivs, memory, tmp_path):
    empty = tmp_path / "empty.mkv"
    with av.open(str(empty), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        container.start_encoding()
    refused(rlivs("caption", empty, "--memory", memory, "--stream", "new"))


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_incomplete_model(rlivs, film, memory, model, missing):
    (model / missing).unlink()
    refused(rlivs("caption", film, "--memory", memory, "--stream", "new", "--model", model), missing)


def test_broken_weights(rlivs, film, memory, model):
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    refused(rlivs("caption", film, "--memory", memory, "--stream", "new", "--model", model), "model")


def test_no_model(rlivs, film, memory):
    refused(rlivs("caption", film, "--memory", memory, "--stream", "new", "--model", "./nowhere"), "./nowhere")


def test_unknown_family(rlivs, film, memory, model):
    config = model / "config.json"
    config.write_text(config.read_text().replace('"llava_onevision"', '"not_a_model"'))
    outcome = rlivs("caption", film, "--memory", memory, "--stream", "new", "--model", model)
    refused(outcome, "not_a_model", "llava_onevision")


def test_memory_of_another_embedder(rlivs, film, memory, model):
    from safetensors.torch import load_file, save_file

    weights = load_file(model / "model.safetensors")
    name = next(name for name in weights if name.endswith("embed_tokens.weight"))
    weights[name] = weights[name] + 1
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    refused(rlivs("ask", "What happened?", "--memory", memory, "--model", model), "embedder")


def test_memory_of_another_schema(rlivs, film, captioned, tmp_path):
    other = tmp_path / "other.db"
    shutil.copy(captioned, other)
    with closing(sqlite3.connect(other)) as database:
        database.execute("PRAGMA user_version = 99")
    refused(rlivs("ask", "What happened?", "--memory", other), "version")
    foreign = tmp_path / "foreign.db"
    with closing(sqlite3.connect(foreign)) as database:
        database.execute("CREATE TABLE recipes (name TEXT)")
    before = contents(foreign)
    refused(rlivs("caption", film, "--memory", foreign, *FAST))
    assert contents(foreign) == before


def test_corrupt_memory(rlivs, film, tmp_path):
    corrupt = tmp_path / "corrupt.db"
    corrupt.write_bytes(b"this is not a database" * 1000)
    before = corrupt.read_bytes()
    refused(rlivs("ask", "What happened?", "--memory", corrupt))
    refused(rlivs("caption", film, "--memory", corrupt, *FAST))
    assert corrupt.read_bytes() == before


def test_damaged_pages(rlivs, captioned, tmp_path):
    damaged = tmp_path / "damaged.db"
    content = bytearray(captioned.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    damaged.write_bytes(content)
    refused(rlivs("ask", "What happened?", "--memory", damaged))


@pytest.mark.parametrize("question", ["", "   "])
def test_empty_question(rlivs, memory, question):
    refused(rlivs("ask", question, "--memory", memory), "question is empty")


def test_unknown_stream(rlivs, memory):
    refused(rlivs("ask", "What happened?", "--memory", memory, "--stream", "other"), "other", "film")


def test_a_stream_that_exists(rlivs, film, memory):
    refused(rlivs("caption", film, "--memory", memory, *FAST), "resume")


def test_layer_out_of_range(rlivs, film, memory):
    outcome = rlivs("caption", film, "--memory", memory, "--stream", "new", "--set", "layers=[0, 99]")
    refused(outcome, "99")


def test_more_tokens_than_a_clip_has(rlivs, film, memory):
    outcome = rlivs("caption", film, "--memory", memory, "--stream", "new", "--set", "keep_tokens=5000")
    refused(outcome, "5000", "keep at most")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--set", "fps"),
        ("--set", "fps=0"),
        ("--set", "speed=1"),
        ("--fps", "-1"),
        ("--device", "abacus"),
        ("--device", "meta"),
        ("--config", "no.yaml"),
    ],
)
def test_options(rlivs, film, memory, arguments):
    refused(rlivs("caption", film, "--memory", memory, "--stream", "new", *arguments))


def test_no_such_clip(rlivs, memory):
    refused(rlivs("heatmap", "7", "--memory", memory), "clips 0 to 2")


def test_a_clip_that_was_pruned(rlivs, captioned, tmp_path):
    pruned = shutil.copy(captioned, tmp_path / "pruned.db")
    assert rlivs("memory", "prune", "--memory", pruned, "--keep-last", "1").code == 0
    refused(rlivs("heatmap", "0", "--memory", pruned), "has no clip 0; it has clips 2 to 2")


def test_a_heat_map_of_a_live_stream_or_of_nothing(rlivs, tmp_path):
    memory = tmp_path / "live.db"
    with CaptionStore.open(memory) as store:
        store.create_stream("door", source="rtsp://camera/door", settings={"fps": 1, "frames_per_clip": 4})
        place = ("--memory", memory)
        refused(rlivs("heatmap", "0", *place), "has no clip yet")
        caption = Caption("door", 0, 0.0, 4.0, "a cat", 2, (0,))
        store.append(caption, embedding=[1.0], embedder_id="e", visual=None)
        refused(rlivs("heatmap", "0", *place), "came from rtsp://camera/door, and no video of it is kept")


def test_no_time(rlivs, memory):
    refused(rlivs("ask", "What happened?", "--memory", memory, "--at", "soon"), "soon")
    refused(rlivs("ask", "What happened?", "--memory", memory, "--at", "0:01"), "0:01")


def test_nowhere_to_write(rlivs, memory, film, tmp_path):
    refused(rlivs("heatmap", "0", "--memory", memory, "--out", tmp_path / "none" / "heat.png"), "heat.png")
    refused(rlivs("caption", film, "--memory", tmp_path / "none" / "c.db", *FAST), "mkdir -p")


def test_a_film_shorter_than_its_memory(rlivs, captioned, film, tmp_path):
    copy, memory = shutil.copy(film, tmp_path / "film.mp4"), tmp_path / "c.db"
    assert rlivs("caption", copy, "--memory", memory, *FAST).code == 0
    write_film(copy, seconds=4)
    refused(rlivs("heatmap", "2", "--memory", memory, "--out", tmp_path / "heat.png"), "shorter", "film.mp4")


@pytest.mark.parametrize(
    "arguments",
    [("demo",), ("eval", "synthetic", "--micro"), ("bench", "kernels", "--quick"), ("bench", "pipeline", "--quick")],
)
def test_nothing_is_done_for_an_output_that_cannot_be_written(rlivs, tmp_path, arguments):
    (tmp_path / "file").touch()
    for place in (
        (tmp_path / "file", "/proc/x") if "bench" not in arguments else (tmp_path / "file" / "x.csv", tmp_path)
    ):
        refused(rlivs(*arguments, "--out", place), "cannot write", str(place).removesuffix("/x.csv"))


def test_a_report_nowhere_is_refused_before_the_captioning(rlivs, film, tmp_path):
    memory = tmp_path / "c.db"
    for report in (tmp_path / "none" / "report.html", tmp_path):
        refused(rlivs("caption", film, "--memory", memory, "--report", report, *FAST), "cannot write", str(report))
    assert not memory.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("caption", "v.mp4", "--zzz"), "No such option: --zzz; see rlivs caption --help"),
        (("caption", "v.mp4", "--fps", "x"), "Invalid value for '--fps'"),
        (("caption",), "Missing argument 'VIDEO...'"),
        (("memory", "prune", "--foo"), "see rlivs memory prune --help"),
        (("captoin",), "No such command 'captoin'"),
    ],
)
def test_options_that_no_command_has(rlivs, arguments, message):
    refused(rlivs(*arguments), message, "; see rlivs")


@pytest.mark.parametrize("command", ["caption", "watch"])
def test_a_name_that_no_address_can_hold(rlivs, film, memory, command):
    refused(rlivs(command, film, "--memory", memory, "--stream", "a/b"), "no slash; use a-b")


def test_no_arguments_show_the_help(rlivs):
    outcome = rlivs()
    assert (outcome.code, outcome.err.strip()) == (2, "")
    assert "caption" in outcome.out
