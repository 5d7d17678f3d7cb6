"""FFmpeg's own connections: redirects, playlists' segments and names resolved twice lead nowhere they may not."""

import http.server
import socket
import threading
from functools import partial

import av
import pytest
from films import write_film

from rlivs.errors import InputError
from rlivs.serving.http_gate import HttpGate
from rlivs.serving.refusals import Refusal
from rlivs.serving.rtsp_gate import RedirectWatch, RtspGate
from rlivs.serving.settings import make_settings
from rlivs.serving.sources import SourceDoor
from rlivs.video.live import SourceStatus

ALLOWED, SECRET = "allowed.test", "secret.test"


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_film(tmp_path_factory.mktemp("film") / "film.mp4", seconds=2)


@pytest.fixture
def site(film):
    """A web server that is both the allowed host and the secret one; it notes which it was asked as."""
    asked = []

    class Site(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            port = self.server.server_port
            asked.append((self.headers["Host"].partition(":")[0], self.path))
            target = {
                "/redirect": f"http://{SECRET}:{port}/film.mp4",
                "/redirect-by-number": f"http://127.0.0.1:{port}/film.mp4",
                "/redirect-to-file": f"file://{film}",
                "/redirect-here": f"http://{ALLOWED}:{port}/film.mp4",
            }.get(self.path)
            lists = {
                "/list.m3u8": f"http://{SECRET}:{port}/part.ts",
                "/file-list.m3u8": f"file://{film}",
            }
            if self.path in lists:
                head = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n"
                body = f"{head}{lists[self.path]}\n#EXT-X-ENDLIST\n".encode()
            elif self.path == "/session.sdp":
                body = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
                body += b"m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
            else:
                body = b"" if target else film.read_bytes()
            self.send_response(302 if target else 200)
            if target:
                self.send_header("Location", target)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def door():
    """Only the allowed host may be read; both names lead to this machine, whose addresses are allowed for the test."""
    settings = make_settings(hosts=(ALLOWED,), allow_private=True)
    door = SourceDoor(settings, resolver=lambda host, port: ["127.0.0.1"])
    yield door
    door.close()


@pytest.mark.parametrize("path", ["/film.mp4", "/redirect-here"])
def test_an_allowed_film_is_read(site, door, path):
    port, _ = site
    source = door.open(f"http://{ALLOWED}:{port}{path}")
    assert not source.live
    assert sum(1 for _ in source.frames()) == 8


@pytest.mark.parametrize(
    "path", ["/redirect", "/redirect-by-number", "/redirect-to-file", "/list.m3u8", "/file-list.m3u8", "/session.sdp"]
)
def test_ways_from_an_allowed_host_to_others_are_refused(site, door, path):
    port, asked = site
    with pytest.raises(Refusal):
        door.open(f"http://{ALLOWED}:{port}{path}")
    assert asked  # the allowed host was read
    assert {host for host, _ in asked} == {ALLOWED}


def test_a_name_that_changes_its_address_is_refused(site):
    """Rebinding: public when the address is checked, private when FFmpeg connects."""
    port, asked = site
    answers = iter([["93.184.215.14"]])
    door = SourceDoor(make_settings(hosts=(ALLOWED,)), resolver=lambda host, port: next(answers, ["127.0.0.1"]))
    with pytest.raises(Refusal):
        door.open(f"http://{ALLOWED}:{port}/film.mp4")
    assert asked == []
    door.close()


def test_hosts_that_the_environment_excepts_go_through_the_gate_too(site, door, monkeypatch):
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1,.test")
    port, asked = site
    with pytest.raises(Refusal):
        door.open(f"http://{ALLOWED}:{port}/redirect-by-number")
    assert len(asked) == 1


def test_the_gate_gives_the_environment_back(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy.test:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    import os

    with HttpGate(make_settings()) as gate:
        assert os.environ["http_proxy"] == gate.address
    assert os.environ["http_proxy"] == "http://proxy.test:3128"
    assert "no_proxy" not in os.environ


@pytest.mark.parametrize(
    "request_line",
    [
        "CONNECT secret.test:443", "CONNECT 127.0.0.1:22", "CONNECT allowed.test", "CONNECT :443", "GET /film.mp4",
        "GET http://secret.test/", "GET ftp://allowed.test/", "GET http://allowed.test@secret.test/", "nonsense",
    ],
)  # fmt: skip
def test_the_gate_itself_refuses(request_line):
    settings = make_settings(hosts=(ALLOWED,))
    with (
        HttpGate(settings, resolver=lambda host, port: ["127.0.0.1"]) as gate,
        socket.create_connection(("127.0.0.1", int(gate.address.rpartition(":")[2])), timeout=30) as client,
    ):
        client.sendall(f"{request_line} HTTP/1.1\r\n\r\n".encode())
        assert client.recv(64).split(b" ")[1] in (b"403", b"400")


def rtsp_answer(status, body=b""):
    return b"RTSP/1.0 " + status + b"\r\nCSeq: 1\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def test_rtsp_answers_and_media_pass_and_redirects_do_not():
    media = b"$\x00\x00\x0dRTSP/1.0 302 "  # a packet that happens to look like one
    sent = rtsp_answer(b"200 OK", b"v=0\r\nRTSP/1.0 302 Moved\r\n") + media + rtsp_answer(b"200 OK")
    for size in (1, 7, len(sent)):
        watch = RedirectWatch()
        assert all(watch.passes(sent[at : at + size]) for at in range(0, len(sent), size))
        assert not watch.passes(rtsp_answer(b"302 Found"))
    assert not RedirectWatch().passes(b"REDIRECT rtsp://camera/ RTSP/1.0\r\nLocation: rtsp://secret/\r\n\r\n")
    assert not RedirectWatch().passes(b"RTSP/1.0 200 OK\r\nContent-Length: many\r\n\r\n")


def test_a_camera_that_redirects_is_left():
    reached = []
    secret = socket.create_server(("127.0.0.1", 0))
    camera = socket.create_server(("127.0.0.1", 0))

    def redirect():
        connection, _ = camera.accept()
        connection.recv(4096)
        location = b"rtsp://127.0.0.1:%d/live" % secret.getsockname()[1]
        connection.sendall(b"RTSP/1.0 302 Found\r\nCSeq: 1\r\nLocation: " + location + b"\r\n\r\n")
        connection.close()

    def watch():
        secret.settimeout(60)
        try:
            reached.append(secret.accept())
        except OSError:
            return

    threading.Thread(target=redirect, daemon=True).start()
    threading.Thread(target=watch, daemon=True).start()
    gate = RtspGate(lambda: socket.create_connection(camera.getsockname()))
    with pytest.raises((av.FFmpegError, OSError)):
        av.open(f"rtsp://127.0.0.1:{gate.port}/live", options={"rtsp_transport": "tcp"}, timeout=(20, 20))
    gate.close()
    secret.close()
    camera.close()
    assert reached == []


def test_a_camera_elsewhere_is_never_connected_to():
    asked = []

    def connect():
        asked.append(True)
        raise Refusal("not public")

    gate = RtspGate(connect)
    with pytest.raises((av.FFmpegError, OSError)):
        av.open(f"rtsp://127.0.0.1:{gate.port}/live", options={"rtsp_transport": "tcp"}, timeout=(20, 20))
    gate.close()
    assert asked


def test_a_camera_of_the_operator_may_come_later(tmp_path, monkeypatch):
    monkeypatch.delenv("http_proxy", raising=False)
    write_film(tmp_path / "live.ts", seconds=2)
    door = SourceDoor(make_settings())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    source = door.open_trusted(f"http://user:word@127.0.0.1:{port}/live.ts")
    assert source.live and "word" not in source.name
    coming = source.frames()
    assert "refused" in next(coming).error
    answer = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), answer) as camera:
        threading.Thread(target=camera.serve_forever, daemon=True).start()
        frame = next(item for item in coming if not isinstance(item, SourceStatus))
        assert frame.image.shape == (96, 96, 3)
        source.close()
        camera.shutdown()


@pytest.mark.parametrize("spec", ["http://127.0.0.1:1/film.mp4", "http://127.0.0.1:1/FILM.MOV?a=b", "no-such-film.mp4"])
def test_a_film_of_the_operator_must_be_there(spec):
    with pytest.raises(InputError):
        SourceDoor(make_settings()).open_trusted(spec)
