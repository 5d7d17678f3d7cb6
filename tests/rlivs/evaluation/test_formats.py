"""Benchmarks' files, each in its own form."""

import json

import pytest

from rlivs.errors import InputError
from rlivs.evaluation import Question, format_names, read_questions


def written(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_formats_are_found_by_their_files():
    assert format_names() == ["cgbench", "jsonl", "moviechat", "nextqa", "rvs"]


def test_jsonl(tmp_path):
    rows = [
        {"video": "a", "question": "What?", "answer": "A dog.", "at": "1:15", "kind": "what", "id": 7},
        {"video": "b.mp4", "question": "Which?", "choices": ["red", "blue"], "answer": "B", "at": 3.5},
        {"video": "b.mp4", "question": "Which?", "choices": ["B", "C"], "answer": "B"},
    ]
    path = written(tmp_path / "q.jsonl", "\n".join(map(json.dumps, rows)) + "\n\n")
    assert read_questions(path) == [
        Question("7", "a", "What?", "A dog.", at=75, kind="what"),
        Question("2", "b.mp4", "Which?", "blue", ("red", "blue"), at=3.5),
        Question("3", "b.mp4", "Which?", "B", ("B", "C")),
    ]


def test_nextqa(tmp_path):
    header = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4\n"
    path = written(
        tmp_path / "val.csv", header + '401,369,640,480,how do they play,3,6,CH,roll,tap,"strum, slow",hit,pat\n'
    )
    [question] = read_questions(path, "nextqa")
    choices = ("roll", "tap", "strum, slow", "hit", "pat")
    assert question == Question("401_6", "401", "how do they play", "hit", choices, kind="CH")
    assert question.prompt == (
        "how do they play (A) roll (B) tap (C) strum, slow (D) hit (E) pat Answer with the letter of the right choice."
    )
    written(tmp_path / "map_vid_vidorID.json", {"401": "1150/401"})
    assert read_questions(path, "nextqa")[0].video == "1150/401"


def test_rvs(tmp_path):
    row = {"id": 5, "video_id": "0001", "question": "Where?", "answer": "Here.", "answer_type": "place"}
    path = written(tmp_path / "test_qa_ego4d.json", [{**row, "start_time": 2440, "end_time": 2490}])
    written(tmp_path / "rvs_ego.json", [{"video_id": "0001", "original_video": "x", "start_time": 2430, "end_time": 9}])
    assert read_questions(path, "rvs") == [Question("5", "0001", "Where?", "Here.", at=60, kind="place")]
    turns = [{"question": "Where?", "answer": "Here.", "start_time": 10, "end_time": 60}]
    grouped = written(tmp_path / "ego.json", [{"video_id": "0001", "video_path": "x", "conversations": turns}])
    assert read_questions(grouped, "rvs") == [Question("0001_0", "0001", "Where?", "Here.", at=60)]


def test_moviechat(tmp_path):
    film = {
        "info": {"num_frame": 9624, "fps": 24, "video_path": "1.mp4"},
        "global": [{"question": "Where?", "answer": "At sea."}],
        "breakpoint": [{"question": "What is it?", "answer": "A boat.", "time": 240}],
    }
    written(tmp_path / "1.json", film)
    assert read_questions(tmp_path, "moviechat") == [
        Question("1_global_0", "1.mp4", "Where?", "At sea.", kind="global"),
        Question("1_breakpoint_0", "1.mp4", "What is it?", "A boat.", at=10, kind="breakpoint"),
    ]


def test_cgbench(tmp_path):
    row = {
        "qid": 1,
        "video_uid": "u",
        "question": "Who?",
        "choices": ["he", "she"],
        "right_answer": "B",
        "domain": "Life",
    }
    [question] = read_questions(written(tmp_path / "cgbench.json", [{**row, "domain": "Life"}]), "cgbench")
    assert question == Question("1", "u", "Who?", "she", ("he", "she"), kind="Life")


ROW = {"video": "a", "question": "What?"}
CG = {"qid": 1, "video_uid": "u", "question": "q", "choices": ["x"]}


@pytest.mark.parametrize(
    ("form", "content", "words"),
    [
        ("jsonl", "{", "line 1 is no JSON object"),
        ("jsonl", json.dumps({"video": "a"}), "lacks video or question"),
        ("jsonl", json.dumps({**ROW, "time": 3}), "has other fields"),
        ("jsonl", json.dumps({**ROW, "at": "soon"}), "is no time"),
        ("jsonl", json.dumps({**ROW, "question": " "}), "has no text"),
        ("jsonl", json.dumps({**ROW, "choices": ["x", "y"], "answer": "z"}), "is none of its choices"),
        ("jsonl", json.dumps({**ROW, "choices": list(range(27))}), "27 choices"),
        (
            "jsonl",
            "\n".join(2 * [json.dumps({**ROW, "id": 1})]),
            "several questions with the id '1'",
        ),
        ("jsonl", json.dumps({**ROW, "choices": "yes or no"}), "line 1: choices is no list"),
        ("jsonl", json.dumps({**ROW, "choices": {"A": "x"}}), "line 1: choices is no list"),
        ("jsonl", json.dumps({**ROW, "choices": ["x", "y"], "answer": "BC"}), "is none of its choices"),
        ("jsonl", json.dumps({**ROW, "video": None}), "video is None: input should be a valid string"),
        ("jsonl", json.dumps({**ROW, "answer": "\ud800"}), "is no UTF-8 text"),
        ("jsonl", "\n", "holds no question"),
        (
            "nextqa",
            "video,frame_count,question,answer,qid,type,a0,a1,a2,a3,a4\n1,1,what,0,1,C,x,y\n",
            "cannot be asked",
        ),
        ("nextqa", "video," + "x" * 200_000 + "\n", "field larger than field limit"),
        ("cgbench", json.dumps([{**CG, "question": None}]), "text is None"),
        (
            "cgbench",
            json.dumps([{**CG, "domain": ["d"]}]),
            "kind",
        ),
        (
            "moviechat",
            json.dumps({"info": {"fps": 0, "video_path": "v"}, "breakpoint": [{"question": "q", "time": 1}]}),
            "division by zero",
        ),
        ("nextqa", "video,question\n1,what\n", "is not of the format nextqa"),
        ("cgbench", "[{}]", "'choices' is missing"),
        ("rvs", "{}", "cannot read .*rvs_ego.json"),
        ("moviechat", "[]", "is not of the format moviechat"),
        ("nothing", "", "there is no format 'nothing'; the formats are: cgbench, jsonl"),
    ],
)
def test_what_cannot_be_asked(tmp_path, form, content, words):
    with pytest.raises(InputError, match=words) as refused:
        read_questions(written(tmp_path / "q", content), form)
    assert "\n" not in str(refused.value)


def test_what_is_left_open(tmp_path):
    """An empty answer is none, numbers are texts, and a mark of the byte order is none of the file's."""
    rows = [
        {"video": "a", "question": "What?", "answer": "", "choices": ["x", "y"], "id": None},
        {"video": "a", "question": "How many?", "answer": 0, "choices": [0, 1, 2]},
        {"video": 3, "question": "Which?", "answer": 7, "id": 12},
    ]
    path = written(tmp_path / "q.jsonl", "\ufeff" + "\r\n".join(map(json.dumps, rows)))
    assert read_questions(path) == [
        Question("1", "a", "What?", None, ("x", "y")),
        Question("2", "a", "How many?", "0", ("0", "1", "2")),
        Question("12", "3", "Which?", "7"),
    ]


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_questions(tmp_path / "q")
