"""Servers for tests: in this process, over a socket, and as a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the server's tests need the extra: pip install 'rlivs-kernels[serve]'")

import httpx
import uvicorn
from fake_service import FakeService, picture
from starlette.testclient import TestClient

from rlivs.serving.app import create_app
from rlivs.serving.settings import make_settings

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def service():
    return FakeService()


@pytest.fixture
def camera(service):
    """A stream of three clips."""
    service.create("camera-1", source="rtsp://admin:secret@camera/1")
    for index in range(3):
        service.push("camera-1", picture(), 8.0 * index)
    return "camera-1"


@pytest.fixture
def make_client(service):
    """A client of a server with the given settings, in this process."""
    with contextlib.ExitStack() as stack:

        def make(*, base_url="http://127.0.0.1", door=None, count_tokens=None, **options):
            app = create_app(service, make_settings(**options), model="tiny", door=door, count_tokens=count_tokens)
            client = TestClient(app, base_url=base_url, raise_server_exceptions=False)
            client.app_under_test = app
            return stack.enter_context(client)

        yield make


@pytest.fixture
def client(make_client):
    return make_client()


@contextlib.contextmanager
def listening(app):
    """The address of `app` behind a real socket, where answers stream and clients can leave."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)


@pytest.fixture
def serve_at():
    return listening


@pytest.fixture(scope="session")
def start_server():
    return ServerProcess


@pytest.fixture
def address(service):
    with listening(create_app(service, make_settings(), model="tiny", count_tokens=len)) as found:
        yield found


class ServerProcess:
    """`rlivs serve` as its users run it."""

    def __init__(self, *arguments, log):
        paths = [str(ROOT), str(ROOT / "python"), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
        program = "import typer; from rlivs.cli.serve import serve; typer.run(serve)"
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program, *map(str, arguments)], stdout=file, stderr=file, env=environment
            )

    def wait_until_ready(self, address, patience=180):
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self._log.read_text()
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{address}/healthz", trust_env=False).status_code == 200:
                    return
            time.sleep(0.1)
        raise AssertionError(f"no answer in {patience} s:\n{self._log.read_text()}")

    def kill(self):
        """SIGKILL: nothing is said, nothing is closed."""
        self._process.kill()
        self._process.wait()

    def stop(self):
        """SIGTERM; the exit code."""
        self._process.terminate()
        return self._process.wait(timeout=60)
