"""Cameras on the network that are killed and come back, watched by the service."""

import signal
from itertools import pairwise

import pytest

from rlivs.video.live import open_source

RATE = 10


def check_memory(store, announced):
    """Every caption that was announced is there, and captions and gaps cover the time without overlap."""
    captions, gaps = store.captions("camera"), store.gaps("camera")
    assert [caption.index for caption in captions] == list(range(len(captions)))
    stored = {caption.index: caption.text for caption in captions}
    assert all(stored[data["index"]] == data["text"] for data in announced)
    lost = [gap for gap in gaps if gap.reason != "overload"]
    spans = sorted([(c.start, c.end) for c in captions] + [(g.start, g.end) for g in gaps])
    # A clip ends with its last sample's time, up to one sample (0.25 s) beside the gap's own beginning and end.
    assert all(abs(start - end) <= 0.5 for (_, end), (start, _) in pairwise(spans)), spans
    return lost


def follow(subscription, announced, states, until):
    """Add captions to `announced` and states to `states` as they come, until `until()`."""
    while not until():
        event = subscription.get(timeout=0.1)
        if event is not None and event.kind == "caption":
            announced.append(event.data)
        if event is not None and event.kind == "status":
            states.append(event.data["state"])


def has_sent(service, life):
    """Whether frames of the camera's life (from 0) have come."""
    status = service.status("camera")
    return status.reconnects == life and status.state == "running"


@pytest.mark.parametrize(("kind", "kills"), [("rtsp", 5), ("mpegts", 5), ("rtsp-listen", 2)])
def test_a_camera_that_is_killed(kind, kills, make_service, start_process, free_port):
    """Each time it is connected to again, the gap is marked, and what had come before is captioned."""
    if kind == "rtsp":
        command = ("rtsp_camera.py", free_port, RATE)
        source = open_source(f"rtsp://127.0.0.1:{free_port}/camera", timeout=30)
    elif kind == "rtsp-listen":
        command = ("publisher.py", f"rtsp://127.0.0.1:{free_port}/camera", "rtsp", RATE)
        source = open_source(f"rtsp://127.0.0.1:{free_port}/camera", timeout=30, options={"rtsp_flags": "listen"})
    else:
        command = ("publisher.py", f"tcp://127.0.0.1:{free_port}", "mpegts", RATE)
        source = open_source(f"tcp://127.0.0.1:{free_port}?listen=1", timeout=30)
    service = make_service(max_caption_tokens=2)
    service.create("camera")
    following = service.subscribe("camera")
    service.attach("camera", source)
    announced, states = [], []
    for life in range(kills + 1):
        camera = start_process(*command)
        follow(following, announced, states, lambda life=life: has_sent(service, life))
        captions = len(announced)
        follow(following, announced, states, lambda captions=captions: len(announced) >= captions + 2)
        if life < kills:
            camera.send_signal(signal.SIGKILL)
            camera.wait()
    service.detach("camera")
    lost = check_memory(service._engine.store, announced)
    assert len(lost) == kills
    assert all(gap.reason for gap in lost)
    assert states.count("reconnecting") >= kills, "who follows is told when the camera is lost, not when it is back"
