"""`rlivs caption` killed at random moments loses nothing and doubles nothing."""

import os
import random
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from films import write_film

KILLS = 10


@pytest.fixture(scope="module")
def long_film(tmp_path_factory):
    """48 s: at 8 frames a second 24 clips, about two for each life of a process that is killed ten times."""
    return write_film(tmp_path_factory.mktemp("film") / "long.mp4", seconds=48, fps=8)


class Runs:
    """The process that begins and kills runs of `rlivs caption --resume`, and the lines these have printed."""

    def __init__(self, film):
        self.printed = []
        self._film = film
        self._process = subprocess.Popen(
            [sys.executable, "-u", Path(__file__).with_name("forked_command.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self._read("loaded")

    def kill(self, memory, lines, pause):
        """A run that is killed `pause` seconds after its first `lines` lines; its exit status."""
        self._begin(memory)
        for _ in range(lines):
            if self._read_line() == "through":
                break
        time.sleep(pause)
        self._order("kill")
        return self._read("ended")

    def finish(self, memory):
        """A run to its end; its exit status."""
        self._begin(memory)
        self._order("wait")
        return self._read("ended")

    def close(self):
        self._process.kill()
        self._process.communicate()

    def _begin(self, memory):
        options = ["--memory", memory, "--resume", "--fps", "8", "--set", "max_caption_tokens=12", "--device", "cpu"]
        self._order(shlex.join(["caption", *map(str, [self._film, *options])]))

    def _order(self, text):
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def _read(self, word):
        while not (line := self._read_line()).startswith(word):
            pass
        return line.removeprefix(word).strip()

    def _read_line(self):
        line = self._process.stdout.readline()
        assert line, "the process has ended"
        line = line.rstrip("\n")
        if line.partition(" ")[0] not in ("loaded", "through", "ended"):
            self.printed.append(line)
        return line


@pytest.fixture
def runs(long_film):
    runs = Runs(long_film)
    yield runs
    runs.close()


def everything(memory):
    with closing(sqlite3.connect(memory)) as database:
        return list(database.iterdump())


@pytest.mark.slow
def test_killed_ten_times_equals_undisturbed(runs, tmp_path):
    whole, parts = tmp_path / "whole.db", tmp_path / "parts.db"
    assert runs.finish(whole) == "0"
    runs.printed.clear()
    rng = random.Random(0)
    ends = [runs.kill(parts, rng.randint(0, 2), rng.uniform(0, 0.4)) for _ in range(KILLS)]
    assert set(ends) <= {str(int(signal.SIGKILL)), "0"} and ends[0] != "0"
    assert runs.finish(parts) == "0"
    assert everything(parts) == everything(whole)
    # What was announced before a kill was there after it: no clip is ever captioned a second time.
    assert len(runs.printed) == len(set(runs.printed))
    assert len(set(runs.printed)) >= 24 - KILLS
