"""`rlivs caption` killed at random moments loses nothing and doubles nothing."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from films import write_film

KILLS = 10


@pytest.fixture(scope="module")
def long_film(tmp_path_factory):
    """48 s: at 8 frames a second 24 clips, about two for each life of a process that is killed ten times."""
    return write_film(tmp_path_factory.mktemp("film") / "long.mp4", seconds=48, fps=8)


def command(film, memory):
    options = ["--memory", str(memory), "--resume", "--fps", "8", "--set", "max_caption_tokens=12", "--device", "cpu"]
    return [sys.executable, "-u", "-m", "rlivs.cli", "caption", str(film), *options]


def everything(memory):
    with closing(sqlite3.connect(memory)) as database:
        return list(database.iterdump())


@pytest.mark.slow
def test_killed_ten_times_equals_undisturbed(long_film, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, parts = tmp_path / "whole.db", tmp_path / "parts.db"
    subprocess.run(command(long_film, whole), check=True, capture_output=True, env=environment)
    rng = random.Random(0)
    announced = []
    for _ in range(KILLS):
        process = subprocess.Popen(
            command(long_film, parts), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(rng.randint(0, 2)):
            announced.append(process.stdout.readline().rstrip("\n"))
        time.sleep(rng.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        rest, errors = process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0), errors
        announced += rest.splitlines()
    done = subprocess.run(command(long_film, parts), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert everything(parts) == everything(whole)
    announced += done.stdout.splitlines()
    # What was announced before a kill was there after it: no clip is ever captioned a second time.
    assert len(announced) == len(set(announced))
    assert len(set(announced)) >= 24 - KILLS
