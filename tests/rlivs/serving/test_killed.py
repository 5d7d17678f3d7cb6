"""A server killed twenty times with SIGKILL while it captions and answers, and a page is open: nothing is lost."""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from browser import CHROMIUM, Browser
from films import write_film
from memory_rows import everything, stored_texts
from tiny_models import save_tiny_checkpoint
from waiting import wait_for

from rlivs.memory.visual import VisualMemory

KILLS = 20
STREAMS = ("left", "right")
CLIPS = 120  # of 2 frames at 8 a second, in 30 s
HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SHOWN = "[...document.querySelectorAll('#captions [data-clip]')].map(e => +e.dataset.clip)"


class Lives:
    """A server that is begun and killed, over and over, on the same port and memory."""

    def __init__(self, folder, memory):
        self.memory = memory
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{free.getsockname()[1]}"
        paths = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "python"), os.environ.get("PYTHONPATH", "")]))
        self._process = subprocess.Popen(
            [sys.executable, HERE / "forked_server.py", folder / "model", folder / "film.mp4", memory,
             self.address.rpartition(":")[2]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert self._process.stdout.readline() == "loaded\n"

    def begin(self):
        self._order()
        wait_for(lambda: self._answers("/healthz"), "the server")

    def kill(self):
        self._order()
        assert self._process.stdout.readline() == "ended 9\n"

    def close(self):
        self._process.kill()
        self._process.wait()

    def state(self, stream):
        return httpx.get(f"{self.address}/api/streams/{stream}", trust_env=False).json()["state"]

    def _order(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def _answers(self, path):
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(self.address + path, trust_env=False).status_code == 200
        return False


class Client(threading.Thread):
    """Follows a stream and asks it questions for the length of a life; both end when the server is killed."""

    def __init__(self, lives, stream, announced, answers):
        super().__init__(daemon=True)
        self._events = f"{lives.address}/api/streams/{stream}/events"
        self._ask = f"{lives.address}/api/streams/{stream}/questions"
        self._stream, self._announced, self._answers = stream, announced, answers
        self._asker = threading.Thread(target=self._question, daemon=True)

    def run(self):
        self._asker.start()
        after = max((serial for stream, _, _, serial in self._announced if stream == self._stream), default=None)
        parameters = {} if after is None else {"after": after}
        with (
            contextlib.suppress(httpx.HTTPError),
            httpx.stream("GET", self._events, params=parameters, timeout=60, trust_env=False) as answer,
        ):
            kind = serial = None
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "id":
                    serial = int(value)
                elif name == "data" and kind == "caption":
                    data = json.loads(value)
                    self._announced.append((self._stream, data["index"], data["text"], serial))
        self._asker.join()

    def _question(self):
        with contextlib.suppress(httpx.HTTPError):
            while True:
                told = httpx.post(self._ask, json={"question": "What is red?"}, timeout=60, trust_env=False)
                self._answers.append((told.status_code, told.json()))


@pytest.fixture
def folder(tmp_path):
    save_tiny_checkpoint(tmp_path / "model", "llava_onevision")
    write_film(tmp_path / "film.mp4", seconds=CLIPS // 4, fps=8, side=32)
    return tmp_path


@pytest.fixture
def begin_lives(folder):
    with contextlib.ExitStack() as stack:

        def make(memory):
            lives = Lives(folder, folder / memory)
            stack.callback(lives.close)
            return lives

        yield make


def finish(lives):
    for stream in STREAMS:
        wait_for(lambda stream=stream: lives.state(stream) == "ended", f"{stream} to end")


def slots(memory):
    """The visual memory that a stream goes on with, as it is restored."""
    rows = everything(memory)["visual_slots"]
    return {stream: [(clip, VisualMemory.from_bytes(tokens)) for name, clip, tokens in rows if name == stream]
            for stream in STREAMS}  # fmt: skip


@pytest.mark.slow
@pytest.mark.xdist_group("page")
def test_killed_twenty_times_under_load(begin_lives, folder):
    whole = begin_lives("whole.db")
    whole.begin()
    finish(whole)
    whole.kill()

    lives = begin_lives("parts.db")
    announced, answers = [], []
    rng = random.Random(0)
    browser = Browser(folder / "profile") if CHROMIUM else None
    try:
        for life in range(KILLS):
            lives.begin()
            clients = [Client(lives, stream, announced, answers) for stream in STREAMS]
            for client in clients:
                client.start()
            if browser and life == 0:
                browser.open(lives.address)
            before = len(announced)
            wanted = before + rng.randint(1, 6)
            wait_for(lambda wanted=wanted: len(announced) >= wanted or lives.state("right") == "ended", "captions")
            time.sleep(rng.uniform(0, 0.1))
            lives.kill()
            for client in clients:
                client.join()
            stored = stored_texts(lives.memory)
            for stream, clip, text, _ in announced:
                assert stored[stream, clip] == text
        lives.begin()
        finish(lives)
        if browser:  # It was open all the time, and has every caption once.
            browser.wait("document.querySelector('#trouble').innerText === ''")
            browser.wait(f"{SHOWN}.length >= {CLIPS}")
            assert sorted(browser.run(SHOWN)) == list(range(CLIPS))
        lives.kill()
    finally:
        if browser:
            browser.close()
    assert everything(lives.memory) == everything(whole.memory)
    for stream, kept in slots(lives.memory).items():
        assert [clip for clip, _ in kept] == list(range(CLIPS - 3, CLIPS)), stream
    told = [(stream, clip) for stream, clip, *_ in announced]
    assert len(told) == len(set(told)), "a clip was announced twice to one who had seen it"
    assert {status for status, _ in answers} <= {200, 400}, answers[-1]  # 400: nothing had been captioned yet
    assert any(status == 200 and "text" in answer for status, answer in answers)
