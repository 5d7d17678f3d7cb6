"""Live streams by address, each from a sender that is a process of its own: whole, in order, at their times."""

import functools
import http.server
import threading
from itertools import pairwise

import numpy as np
import pytest

from rlivs.video.live import open_source

RATE = 10
FRAMES = 25


@pytest.fixture
def served_folder(tmp_path):
    """A folder and its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def place(image):
    """Which of the 16 places the white square is at."""
    cells = image[..., 0].reshape(4, 16, 4, 16).mean(axis=(1, 3))
    assert cells.max() > 220 and np.sort(cells, axis=None)[-2] < 130
    return int(cells.argmax())


def check_frames(source):
    items = source.frames()
    frames = [next(items) for _ in range(FRAMES)]
    source.close()
    places = [place(frame.image) for frame in frames]
    assert [(after - before) % 16 for before, after in pairwise(places)] == [1] * (FRAMES - 1)
    steps = np.diff([frame.time for frame in frames])
    assert np.abs(steps - 1 / RATE).max() < 0.03, steps
    assert source.live and source.status().frames_dropped == 0


def test_hls(served_folder, start_process):
    folder, address = served_folder
    playlist = folder / "live.m3u8"
    start_process("publisher.py", playlist, "hls", RATE)
    while not playlist.exists() or playlist.read_text().count(".ts") < 2:
        threading.Event().wait(0.05)
    check_frames(open_source(f"{address}/live.m3u8"))


def test_udp(start_process, free_port):
    source = open_source(f"udp://127.0.0.1:{free_port}")
    start_process("publisher.py", f"udp://127.0.0.1:{free_port}?pkt_size=1316", "mpegts", RATE)
    check_frames(source)
