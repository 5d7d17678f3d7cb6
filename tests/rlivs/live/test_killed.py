"""A service killed with SIGKILL while it captions two streams and answers: nothing announced is lost."""

import random
import subprocess
import time

import pytest
from films import write_film
from memory_rows import everything, stored_texts
from tiny_models import save_tiny_checkpoint

KILLS = 5
CLIPS = 48  # of 2 frames at 8 a second, in 12 s


class Lives:
    """The process that begins and kills lives, and what these have announced."""

    def __init__(self, process):
        self.process = process
        self.announced = []
        self.answers = 0

    def order(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def read_until(self, *words):
        """Read lines to the first that begins with one of `words`."""
        while True:
            line = self.process.stdout.readline()
            assert line, "the process has ended"
            if not line.strip():
                continue
            kind, *rest = line.split()
            if kind == "caption":
                self.announced.append((rest[0], int(rest[1]), bytes.fromhex(rest[2]) if len(rest) > 2 else b""))
            self.answers += kind == "answer"
            if kind in words:
                return kind, rest


def begin(start_process, checkpoint, film, memory):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    lives = Lives(start_process("killed_service.py", checkpoint, film, memory, **pipes))
    lives.read_until("loaded")
    return lives


@pytest.mark.slow
def test_killed_five_times_under_load(start_process, tmp_path):
    """Afterwards the memory is that of a service that was never disturbed: captions, embeddings, scores, slots."""
    checkpoint = save_tiny_checkpoint(tmp_path / "model", "llava_onevision")
    film = write_film(tmp_path / "film.mp4", seconds=12, fps=8, side=32)
    whole, parts = tmp_path / "whole.db", tmp_path / "parts.db"
    undisturbed = begin(start_process, checkpoint, film, whole)
    undisturbed.order("finish")
    assert undisturbed.read_until("ended")[1] == ["0"]

    lives = begin(start_process, checkpoint, film, parts)
    rng = random.Random(0)
    for _ in range(KILLS):
        lives.order("live")
        for _ in range(rng.randint(1, 8)):
            if lives.read_until("caption", "answer", "through")[0] == "through":
                break
        time.sleep(rng.uniform(0, 0.05))
        lives.order("kill")
        lives.read_until("ended")
        if parts.exists() and parts.stat().st_size:
            stored = stored_texts(parts)
            for stream, index, text in lives.announced:
                assert stored[stream, index] == text.decode()
    lives.order("finish")
    assert lives.read_until("ended")[1] == ["0"]
    assert everything(parts) == everything(whole)
    assert lives.answers > 0
    told = [(stream, index) for stream, index, _ in lives.announced]
    assert len(told) == len(set(told)), "a clip was captioned a second time"
    assert len([clip for stream, clip in told if stream == "left"]) >= CLIPS - KILLS
