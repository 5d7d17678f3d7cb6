"""Ctrl-C: one line that says how to go on, and a second one that ends at once."""

import importlib
import signal
import subprocess
import sys
from pathlib import Path

import rlivs as rlivs_package

DEMO = Path(rlivs_package.__file__).parent / "assets" / "demo" / "demo.mp4"

# A command whose streams take for ever to be closed, and do not care about an exception meanwhile.
SLOW_TO_CLOSE = """
import signal, sys, threading
from rlivs import cli
from rlivs.streaming.service import StreamService

def close(*_):
    print("closing", flush=True)
    while True:
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("still closing", flush=True)

StreamService.__exit__ = close
signal.signal(signal.SIGINT, signal.default_int_handler)
cli.main()
"""


def test_one_line_says_how_to_go_on(rlivs, film, tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("rlivs.cli.caption"), "print_json", interrupt)
    stopped = rlivs("caption", film, "--memory", tmp_path / "c.db", "--fps", "4", "--json")
    assert (stopped.code, stopped.out) == (130, "")
    assert stopped.err == "rlivs: stopped; a stream goes on with --resume\n"


def test_a_second_one_ends_watching_at_once(tmp_path):
    command = [
        sys.executable,
        "-c",
        SLOW_TO_CLOSE,
        "watch",
        DEMO,
        "--memory",
        tmp_path / "c.db",
        "--fps",
        "2",
        "--json",
    ]
    process = subprocess.Popen(
        list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout.readline().startswith("{")
            process.send_signal(signal.SIGINT)
            while (line := process.stdout.readline()).startswith("{"):
                pass
            assert line == "closing\n"
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == ""
            assert process.wait() == 130
            assert process.stderr.read() == ""
        finally:
            process.kill()
