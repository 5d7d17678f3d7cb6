"""A server that is told to stop while clients are there."""

import io
import threading

import httpx
import pytest
from fake_service import picture
from PIL import Image

from rlivs.serving.app import create_app
from rlivs.serving.server import _listen, _Server
from rlivs.serving.settings import make_settings

PATIENCE = 20  # seconds, after which a test fails rather than hangs


@pytest.fixture
def serve_until(service, capsys):
    """Serves until `client(address, stop)`, in a thread of its own, has called `stop`; what was logged."""

    def serve(client, farewell):
        app = create_app(service, make_settings(port=0))
        with _listen(make_settings(port=0)) as listening:
            address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            server = _Server(app, lambda: thread.start(), farewell)

            def stop():
                server.should_exit = True

            thread = threading.Thread(target=client, args=(address, stop), daemon=True)
            server.run(sockets=[listening])
        return capsys.readouterr().err, thread

    return serve


def test_those_who_listen_are_let_go(serve_until, camera):
    lines = []

    def listen(address, stop):
        with httpx.stream("GET", f"{address}/api/streams/{camera}/events", trust_env=False, timeout=None) as response:
            for line in response.iter_lines():
                lines.append(line)
                if '"index": 2' in line:
                    stop()
        lines.append("the end, as it should be")

    log, client = serve_until(listen, PATIENCE)
    client.join()
    assert log == ""
    assert lines[-1] == "the end, as it should be"


def test_a_push_that_waits_is_answered(serve_until, service, camera, monkeypatch):
    waiting, released = threading.Event(), threading.Event()
    answers = []

    def wait(stream, frame, time):
        waiting.set()
        released.wait(PATIENCE)

    def push(address, stop):
        file = io.BytesIO()
        Image.fromarray(picture()).save(file, "PNG")
        path, options = f"{address}/api/streams/{camera}/frames?time=99", {"trust_env": False, "timeout": None}
        sending = threading.Thread(target=lambda: answers.append(httpx.post(path, content=file.getvalue(), **options)))
        sending.start()
        assert waiting.wait(PATIENCE)
        stop()
        sending.join()
        released.set()

    monkeypatch.setattr(service, "push", wait)
    log, client = serve_until(push, 0)
    client.join()
    assert "Traceback" not in log
    [answer] = answers
    assert answer.status_code == 503 and "stopped" in answer.json()["error"]["message"]
    assert answer.headers["x-content-type-options"] == "nosniff"
