"""A judge behind a server that speaks OpenAI's API."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread

import pytest
from command import runner

from rlivs.evaluation.judge import Verdict, read_verdict


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('{"correct": true, "score": 4}', Verdict(True, 4)),
        ('Sure: ```json\n{"score": 0, "correct": "no"}\n```', Verdict(False, 0)),
        ('{"correct": "Yes", "score": "5"}', Verdict(True, 5)),
        ('{"correct": true, "score": 1} or rather {"correct": false, "score": 2.5}', Verdict(False, 2.5)),
        ('{"correct": true, "score": 6}', None),
        ('{"correct": 1, "score": 3}', None),
        ('{"correct": "maybe", "score": 3}', None),
        ("yes", None),
        ("{}", None),
        ("", None),
    ],
)
def test_reading_a_verdict(text, verdict):
    assert read_verdict(text) == verdict


class Server(ThreadingHTTPServer):
    """Says that an answer is right if it is the true one, cannot make up its mind about "maybe", fails when told to."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests, self.failures, self.status, self.lock = [], 0, 500, Lock()
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            fails = self.server.failures > 0
            self.server.failures -= fails
            self.server.requests.append((self.path, self.headers["authorization"], body))
        said = body["messages"][0]["content"].split("\n")
        true, theirs = (line.partition(": ")[2] for line in said if "nswer: " in line)
        right = true == theirs
        text = "?" if theirs == "maybe" else json.dumps({"correct": right, "score": 5 if right else 1})
        reply = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        ]}  # fmt: skip
        data = json.dumps({"error": {"message": "no"}} if fails else reply).encode()
        self.send_response(self.server.status if fails else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def rlivs(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    common = {
        "way": "memory",
        "kind": "who",
        "model": "m",
        "options": {},
        "choices": [],
        "video": "v",
        "at": None,
        "right": False,
    }
    rows = [
        {**common, "id": "1", "question": "Who?", "answer": "He.", "pred": "He.", "f1": 1.0},
        {**common, "id": "2", "question": "Who?", "answer": "He.", "pred": "She.", "f1": 0.0, "way": "auto"},
        {**common, "id": "3", "question": "Who?", "answer": "He.", "pred": "maybe", "f1": 0.0},
        {**common, "id": "4", "question": "Who?", "answer": None, "pred": "He.", "f1": None, "right": None},
        {**common, "id": "5", "question": "Who?", "answer": "he", "pred": "A", "f1": None, "choices": ["he", "she"]},
    ]
    Path("predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return runner(monkeypatch, capsys)


def test_open_answers_are_judged(rlivs, server):
    server.failures = 2  # which the client tries again
    command = ("eval", "judge", "predictions.jsonl", "--server", server.address, "--judge", "j", "--key", "secret")
    done = rlivs(*command)
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "auto, all: 0.0 % of 1 right (0.0 to 79.3), score 1.00",
        "auto, who: 0.0 % of 1 right (0.0 to 79.3), score 1.00",
        "memory, all: 100.0 % of 1 right (20.7 to 100.0), score 5.00",
        "memory, who: 100.0 % of 1 right (20.7 to 100.0), score 5.00",
    ]
    assert "2 of 3 answers judged by j, in judged.jsonl" in done.err
    assert len(server.requests) == 5
    assert {(path, key, body["temperature"]) for path, key, body in server.requests} == {
        ("/v1/chat/completions", "Bearer secret", 0)
    }
    rows = [json.loads(line) for line in Path("judged.jsonl").read_text().splitlines()]
    assert [(row["id"], row["right"], row["score"]) for row in rows] == [("1", True, 5), ("2", False, 1)]

    again = rlivs(*command, "--json")
    assert len(server.requests) == 6  # what was judged is not asked about again, the reply without a verdict is
    assert again.objects[2]["score"] == 5 and again.objects[2]["right"] == 100


def test_what_was_judged_before_a_failure_is_kept(rlivs, server, monkeypatch):
    command = ("eval", "judge", "predictions.jsonl", "--server", server.address, "--judge", "j", "--workers", "1")
    server.failures, server.status = 1, 401
    refused = rlivs(*command)
    assert refused.code == 2 and "cannot be asked" in refused.err and len(refused.err.splitlines()) == 1
    assert rlivs(*command).code == 0
    other = rlivs(*command[:-3], "other", *command[-2:])
    assert other.code == 2 and 'another judge ("j", not "other")' in other.err
    text = Path("predictions.jsonl").read_text()
    Path("more.jsonl").write_text(text.replace('"She."', '"It."'))
    other = rlivs("eval", "judge", "more.jsonl", *command[3:])
    assert other.code == 2 and 'another pred ("She.", not "It.")' in other.err
    mixed = rlivs(*command, "--out", "predictions.jsonl")
    assert mixed.code == 2 and "predictions.jsonl is no file of verdicts" in mixed.err
    mixed = rlivs("eval", "judge", "judged.jsonl", *command[3:])
    assert mixed.code == 2 and "judged.jsonl is no file of predictions" in mixed.err


@pytest.mark.parametrize(
    ("server", "key"),
    [
        ("http://127.0.0.1:80O1/v1", "k"), ("http://[::1/v1", "k"), (f"http://{'a' * 64}.b/v1", "k"),
        ("http://127.0.0.1:9/v1", "schlüssel"), ("nonsense", "k"),
    ],
)  # fmt: skip
def test_a_server_that_cannot_be_asked(rlivs, server, key, monkeypatch):
    monkeypatch.setattr("openai.OpenAI.max_retries", 0, raising=False)
    told = rlivs("eval", "judge", "predictions.jsonl", "--server", server, "--judge", "j", "--key", key)
    assert told.code == 2 and len(told.err.splitlines()) == 1, told.err
    assert told.err.startswith(f"rlivs: error: {server} ")


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "has no open question"), ("x\n", "is no file of predictions"), (None, "there is no file predictions.jsonl")],
)
def test_nothing_to_judge(rlivs, content, words):
    if content is None:
        Path("predictions.jsonl").unlink()
    else:
        Path("predictions.jsonl").write_text(content)
    told = rlivs("eval", "judge", "predictions.jsonl", "--server", "http://127.0.0.1:9/v1", "--judge", "j")
    assert told.code == 2 and words in told.err
