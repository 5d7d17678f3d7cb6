"""A thousand malformed requests made from the server's own description of itself: none breaks it, none hangs it."""

import itertools

import hypothesis
import pytest
import requests
import schemathesis
from fake_service import picture
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from tiny_models import load_tiny_backbone

from rlivs.config import PipelineConfig
from rlivs.memory.store import CaptionStore
from rlivs.serving.app import create_app
from rlivs.serving.settings import make_settings
from rlivs.streaming import StreamingVideoQA
from rlivs.streaming.service import StreamService

REQUESTS = 1000
# Following a stream has no end of its own: a request for the events of one that exists is answered until it is deleted.
EVENTS = "/api/streams/{name}/events"


@pytest.fixture
def service(tmp_path):
    """The real one, on a small model of random weights, with one stream that has been captioned."""
    backbone = load_tiny_backbone(tmp_path / "model", "llava_onevision")
    config = PipelineConfig(fps=1, frames_per_clip=2, max_caption_tokens=3, max_answer_tokens=3)
    store = CaptionStore.open(tmp_path / "captions.db")
    with StreamingVideoQA(backbone, store, config) as engine, StreamService(engine) as service:
        service.create("camera-1")
        for second in range(3):
            service.push("camera-1", picture(), float(second))
        yield service


def test_malformed_requests(serve_at, service):
    app = create_app(service, make_settings(max_streams=4, question_timeout=5))
    schema = schemathesis.openapi.from_dict(app.openapi())
    operations = [found.ok() for found in schema.get_all_operations()]
    # A request without any parameter cannot be malformed: the lists of streams and models, health, figures.
    operations = [found for found in operations if list(found.iter_parameters()) or found.body]
    assert len(operations) == 10
    each = -(-REQUESTS // len(operations))
    sent, codes = itertools.count(), {}
    session = requests.Session()
    session.trust_env = False

    def call(case, address):
        if case.path == EVENTS:
            case.path_parameters["name"] = f"no-{case.path_parameters.get('name', '')}"
        # A time-out is a hang: it raises.
        response = case.call(base_url=address, session=session, timeout=60)
        next(sent)
        codes[response.status_code] = codes.get(response.status_code, 0) + 1
        assert response.status_code < 500, (
            f"{case.method} {case.formatted_path}: {response.status_code} {response.text}"
        )
        if response.status_code >= 400:
            assert set(response.json()) == {"error"}, response.text

    with serve_at(app) as address:
        for operation in operations:
            make = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

            @hypothesis.settings(
                max_examples=each, database=None, deadline=None, derandomize=True, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @hypothesis.given(case=make)
            def send(case):
                call(case, address)

            send()
        assert requests.get(f"{address}/healthz", timeout=30).json()["status"] == "ok"
    assert next(sent) >= REQUESTS, codes
    assert sum(count for code, count in codes.items() if code >= 400) > REQUESTS / 2, codes


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00" * 200, b"GET / HTTP/9.9\r\n\r\n", b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /api/streams HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"POST /api/streams HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /api/streams HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 9999,
    ],
)  # fmt: skip
def test_what_is_hardly_http(address, raw):
    import socket

    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        try:
            client.sendall(raw)
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            answer = b""
    assert answer == b"" or answer.split(b" ")[1][:1] in (b"4", b"3"), answer
    assert requests.get(f"{address}/healthz", timeout=30).status_code == 200
