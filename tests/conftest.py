"""Where there is no GPU, Triton's interpreter and a stand-in; a film and a server for what the documents say."""

import os
import shlex
import socket
import subprocess
import sys
import time

import torch

if not torch.cuda.is_available():
    # Triton reads it when it is first imported.
    os.environ["TRITON_INTERPRET"] = "1"

import pytest
from documents import cut_film
from stand_in_gpu import stand_in_gpu
from waiting import wait_for


@pytest.fixture
def gpu():
    """A GPU: that of the machine (None), or, where it has none, a stand-in."""
    if torch.cuda.is_available():
        yield None
    else:
        with stand_in_gpu() as device:
            yield device


@pytest.fixture
def beside_a_video(tmp_path, monkeypatch):
    """A working folder with the `video.mp4` the documents speak of."""
    cut_film(tmp_path / "video.mp4", 17)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def berlin(monkeypatch):
    """Local time is that of Berlin: two hours ahead of UTC in summer, one in winter."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def serving():
    """Start `rlivs serve` with a line's arguments; its address."""
    import httpx

    processes = []

    def start(arguments):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "rlivs.cli", "serve", *shlex.split(arguments), "--port", str(port)]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
        address = f"http://127.0.0.1:{port}"

        def ready():
            assert processes[-1].poll() is None, processes[-1].stderr.read()
            try:
                return httpx.get(f"{address}/healthz", trust_env=False).status_code == 200
            except httpx.HTTPError:
                return False

        wait_for(ready, "the server")
        return address

    yield start
    for process in processes:
        process.terminate()
        assert process.wait(timeout=60) == 0
        process.stderr.close()
