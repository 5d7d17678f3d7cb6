"""Questions asked in mid-stream, as if live; interrupted and taken up again."""

import json
import shutil
from pathlib import Path

import pytest
from command import runner

from rlivs.backbones import load_backbone
from rlivs.config import PipelineConfig
from rlivs.errors import InputError
from rlivs.evaluation import Prediction, Question, appending, ask_all, find_videos
from rlivs.memory.store import CaptionStore
from rlivs.streaming import StreamingVideoQA
from rlivs.streaming.session import Session

DEMO = Path(__file__).resolve().parents[3] / "python" / "rlivs" / "assets" / "demo"
SCRIPT = json.loads((DEMO / "demo.json").read_text())
OPTIONS = ("--fps", "2", "--set", "max_caption_tokens=40", "--set", "max_answer_tokens=40")


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("tiny-onevision", device="cpu")


@pytest.fixture
def engine(backbone):
    with StreamingVideoQA(backbone, CaptionStore.open(":memory:"), PipelineConfig(fps=2)) as engine:
        yield engine


def ask(engine, questions, **options):
    return list(ask_all(engine, questions, find_videos(questions, DEMO), **options))


def at(name, moment, text="What happened at 0:08?"):
    return Question(name, "demo", text, "a purple triangle moves down.", at=moment)


def test_each_question_sees_what_had_ended_and_no_more(engine):
    questions = [at("late", 40.0), at("early", 3.0), at("middle", 17.9), at("edge", 16.0)]
    answers = {answer.question.id: answer for answer in ask(engine, questions)}
    assert list(answers) == ["early", "edge", "middle", "late"]
    assert [answers[name].cited for name in answers] == [(), (0, 1), (0, 1), (0, 1, 2, 3, 4)]
    assert answers["early"].answered_from == "recent-frames"  # nothing had been captioned
    assert answers["edge"].right and answers["late"].right and answers["late"].f1 == 1
    assert engine.store.last_index("demo") == 4  # nothing more was asked about


def test_recent_frames_are_those_sampled_by_then(engine, monkeypatch):
    shown = []
    original = Session.ask
    monkeypatch.setattr(Session, "ask", lambda *args, **options: shown.append(original(*args, **options)) or shown[-1])
    [answer] = ask(engine, [at("a", 18.2)], ways=["recent-frames"])
    assert shown[0].frame_times == tuple(0.5 * n for n in range(21, 37))  # 18 s is in the middle of the third clip
    assert (answer.cited, answer.way, answer.answered_from) == ((), "recent-frames", "recent-frames")


def test_a_question_before_the_first_picture_is_answered_by_nothing(engine, monkeypatch):
    from rlivs.evaluation import run

    monkeypatch.setattr(run, "_show", lambda *_, **__: None)
    [answer] = ask(engine, [at("a", 0.0)])
    assert (answer.text, answer.right, answer.f1) == ("", False, 0)


def test_choices(engine):
    choices = ("a blue star moves up.", "a purple triangle moves down.")
    question = Question("c", "demo.mp4", "What happened at 0:08?", choices[1], choices, at=20.0)
    [answer] = ask(engine, [question])
    assert answer.f1 is None and answer.right == (answer.to_json()["right"] is True)


@pytest.fixture
def rlivs(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    shutil.copy(DEMO / "demo.mp4", tmp_path)
    rows = [
        {"video": "demo", "question": "What happened at 0:08?", "answer": SCRIPT["clips"][1]["caption"], "at": "0:20"},
        {"video": "demo.mp4", "question": "What happened at 0:32?", "answer": SCRIPT["clips"][4]["caption"], "at": 44},
        {"video": "demo", "question": "What now?", "at": 30, "kind": "open"},
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return runner(monkeypatch, capsys)


def predictions(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_the_command(rlivs, tmp_path):
    done = rlivs("eval", "questions", "q.jsonl", *OPTIONS, "--answer-from", "memory", "--answer-from", "recent-frames")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "memory, all: 100.0 % of 2 right (34.2 to 100.0), word F1 1.00"
    rows = predictions("predictions.jsonl")
    assert [(row["id"], row["way"]) for row in rows] == [
        (name, way) for name in ("1", "3", "2") for way in ("memory", "recent-frames")
    ]
    assert [row["right"] for row in rows if row["id"] == "3"] == [None, None]  # the benchmark keeps its answer
    with CaptionStore.open(tmp_path / "eval.db", create=False) as store:
        assert [info.stream for info in store.streams()] == ["demo"]  # one video, however it is named

    again = rlivs("eval", "questions", "q.jsonl", *OPTIONS, "--json")
    assert (again.objects[0]["way"], again.objects[0]["questions"]) == ("memory", 2)
    assert predictions("predictions.jsonl") == rows  # nothing was asked again


def test_an_interrupted_run_goes_on(rlivs, tmp_path):
    assert rlivs("eval", "questions", "q.jsonl", *OPTIONS).code == 0
    whole = Path("predictions.jsonl").read_text()
    first = whole.splitlines()[0]
    Path("predictions.jsonl").write_text(first + "\n" + whole.splitlines()[1][:40])  # killed while it wrote
    assert rlivs("eval", "questions", "q.jsonl", *OPTIONS).code == 0

    def timeless(text):
        return [{**json.loads(line), "seconds": 0} for line in text.splitlines()]

    assert timeless(Path("predictions.jsonl").read_text()) == timeless(whole)


@pytest.mark.parametrize("content", ["notes without an end", '{"video": "demo", "question": "What?"}', "{}\n", "[1]\n"])
def test_files_of_other_things_are_left_alone(rlivs, content):
    Path("notes").write_text(content)
    told = rlivs("eval", "questions", "q.jsonl", *OPTIONS, "--out", "notes")
    assert told.code == 2 and "notes is no file of predictions" in told.err
    told = rlivs("eval", "questions", "notes", *OPTIONS, "--out", "notes")
    assert told.code == 2
    assert Path("notes").read_text() == content


def test_a_last_line_without_its_end_counts(rlivs):
    assert rlivs("eval", "questions", "q.jsonl", *OPTIONS).code == 0
    whole = Path("predictions.jsonl").read_text()
    Path("predictions.jsonl").write_text(whole.rstrip("\n"))
    assert rlivs("eval", "questions", "q.jsonl", *OPTIONS).code == 0
    assert Path("predictions.jsonl").read_text().rstrip("\n") == whole.rstrip("\n")
    assert rlivs("eval", "questions", "q.jsonl", *OPTIONS, "--answer-from", "recent-frames").code == 0
    assert [row["way"] for row in predictions("predictions.jsonl")] == 3 * ["memory"] + 3 * ["recent-frames"]


def test_two_runs_do_not_write_one_file(tmp_path):
    path = tmp_path / "p.jsonl"
    with appending(path, []) as write:
        with pytest.raises(InputError, match="is being written by another run"), appending(path, []):
            pass
        row = Prediction(at("1", 3.0), "memory", "x", "memory", (), 0.1).to_json()
        write({**row, "model": "m", "options": {}})
    with pytest.raises(InputError, match="has just been written by another run"), appending(path, []):
        pass
    assert len(predictions(path)) == 1


def test_a_broken_video_does_not_stop_the_others(rlivs):
    whole = Path("demo.mp4").read_bytes()
    Path("broken.mp4").write_bytes(whole[: len(whole) // 2])
    rows = [{"video": "broken", "question": "What happened?", "answer": "x", "at": 4}]
    Path("q.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n" + Path("q.jsonl").read_text())
    told = rlivs("eval", "questions", "q.jsonl", *OPTIONS)
    assert told.code == 2 and "1 answers are missing; of 1 videos the first: " in told.err and "broken.mp4" in told.err
    assert told.out.startswith("memory, all: 100.0 % of 2 right")
    assert [row["id"] for row in predictions("predictions.jsonl")] == ["2", "4", "3"]
    Path("broken.mp4").write_bytes(whole)
    assert rlivs("eval", "questions", "q.jsonl", *OPTIONS).code == 0
    assert [row["id"] for row in predictions("predictions.jsonl")] == ["2", "4", "3", "1"]


def test_parts_share_out_the_videos(rlivs):
    shutil.copy("demo.mp4", "other.mp4")
    with Path("q.jsonl").open("a") as file:
        file.write("\n" + json.dumps({"video": "other", "question": "What happened?", "at": 4}))
    assert rlivs("eval", "questions", "q.jsonl", *OPTIONS, "--part", "3/3").code == 0
    assert [row["video"] for row in predictions("predictions.jsonl")] == ["other"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--videos", "nowhere"], "there is no video nowhere/demo"),
        (["--videos", "x" * 300], "there is no video"),
        (["--answer-from", "dreams"], "answer_from is 'dreams'"),
        (["--part", "3/2"], "write I/N"),
        (["--part", "1"], "write I/N"),
        (["--format", "csv"], "there is no format 'csv'"),
        (["--out", "q.jsonl"], "is no file of predictions"),
        (["--out", "."], "cannot read ."),
    ],
)
def test_mistakes_are_said_before_the_model_is_loaded(rlivs, arguments, words, monkeypatch):
    monkeypatch.setattr("rlivs.streaming.StreamingVideoQA.from_pretrained", None)
    told = rlivs("eval", "questions", "q.jsonl", *arguments)
    assert told.code == 2 and words in told.err and len(told.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--set", "mmr_lambda=0.7"), "with another options"),
        (("--set", "frames_per_clip=8", "--memory", "other.db"), "with another options"),
        (("other.jsonl",), "with another question"),
    ],
)
def test_answers_of_another_run_are_left_alone(rlivs, change, words):
    assert rlivs("eval", "questions", "q.jsonl", *OPTIONS).code == 0
    rows = predictions("predictions.jsonl")
    Path("other.jsonl").write_text(json.dumps({"video": "demo", "question": "Is it raining?", "answer": "no"}))
    file = change[0] if change[0].endswith(".jsonl") else "q.jsonl"
    told = rlivs("eval", "questions", file, *OPTIONS, *(each for each in change if each != file))
    assert told.code == 2 and words in told.err and "choose another --out" in told.err
    assert predictions("predictions.jsonl") == rows


def test_answers_of_another_model_are_left_alone(rlivs):
    assert rlivs("eval", "questions", "q.jsonl", *OPTIONS).code == 0
    rows = [{**row, "model": "another"} for row in predictions("predictions.jsonl")]
    Path("predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = rlivs("eval", "questions", "q.jsonl", *OPTIONS)
    assert told.code == 2 and 'another model ("another", not "tiny-onevision")' in told.err


def test_parts_are_joined_by_cat(rlivs):
    shutil.copy("demo.mp4", "other.mp4")
    with Path("q.jsonl").open("a") as file:
        file.write("\n" + json.dumps({"video": "other", "question": "What happened?", "answer": "x", "at": 4}))
    for part in ("1", "2", "3"):
        done = rlivs("eval", "questions", "q.jsonl", *OPTIONS, "--part", f"{part}/3", "--out", f"{part}.jsonl")
        assert done.code == 0, done.err
    Path("all.jsonl").write_text("".join(Path(f"{part}.jsonl").read_text() for part in "123"))
    joined = rlivs("eval", "questions", "q.jsonl", *OPTIONS, "--out", "all.jsonl", "--json")
    assert joined.objects[0]["questions"] == 3 and len(predictions("all.jsonl")) == 4
