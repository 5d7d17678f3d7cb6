"""The session routes: streams made, fed, followed, asked and deleted."""

import io
import json
import time

import httpx
import numpy as np
import pytest
from fake_service import picture
from films import write_film
from PIL import Image


def encoded(image, form="PNG"):
    file = io.BytesIO()
    Image.fromarray(image).save(file, form)
    return file.getvalue()


def error(answer):
    assert set(answer.json()) == {"error"}
    return answer.status_code, answer.json()["error"]["code"]


def events(response):
    """(event, id, data) of a response of events as they come."""
    item = {}
    for line in response.iter_lines():
        if not line and "data" in item:
            yield item.get("event"), item.get("id"), json.loads(item["data"])
            item = {}
        elif ": " in line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            item[name] = value


def test_a_stream_lives_and_ends(client):
    made = client.post("/api/streams", json={"name": "door"})
    assert (made.status_code, made.json()["state"], made.json()["clips"]) == (201, "idle", 0)
    assert error(client.post("/api/streams", json={"name": "door"})) == (409, "stream_exists")
    assert client.post("/api/streams", json={"name": "door", "resume": True}).status_code == 201
    assert [each["stream"] for each in client.get("/api/streams").json()["streams"]] == ["door"]
    pushed = client.post("/api/streams/door/frames?time=0", content=encoded(picture()))
    assert (pushed.status_code, pushed.json()) == (202, {"time": 0.0, "width": 64, "height": 64})
    asked = client.post("/api/streams/door/questions", json={"question": "What is there?"}).json()
    assert asked["text"] == "a red circle moves left"
    [cited] = asked["citations"]
    assert cited == {"index": 0, "start": 0, "end": 8, "clock": None, "text": "clip 0 shows something <b>new</b>"}
    assert client.delete("/api/streams/door/source").status_code == 204
    assert client.delete("/api/streams/door").status_code == 204
    assert error(client.get("/api/streams/door")) == (404, "unknown_stream")


def test_every_route_of_an_unknown_stream_is_404(client):
    calls = [
        ("GET", "", {}), ("DELETE", "", {}), ("DELETE", "/source", {}),
        ("PUT", "/source", {"json": {"source": "a.mp4"}}),
        ("POST", "/frames?time=0", {"content": encoded(picture())}), ("GET", "/events", {}), ("GET", "/picture", {}),
        ("POST", "/questions", {"json": {"question": "a"}}),
        ("POST", "/questions", {"json": {"question": "a", "stream": True}}),
    ]  # fmt: skip
    for method, rest, options in calls:
        assert error(client.request(method, f"/api/streams/nobody{rest}", **options)) == (404, "unknown_stream"), rest


def test_frames_arrive_as_they_were(client, service, camera):
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    client.post(f"/api/streams/{camera}/frames?time=30.5", content=encoded(image))
    latest = service.latest_frame(camera)
    assert np.array_equal(latest.image, image)
    assert latest.time == 30.5


def test_frames_that_are_refused(make_client, camera):
    client = make_client(max_frame_bytes=4096, max_frame_pixels=64 * 64)
    frames = f"/api/streams/{camera}/frames"
    whole = encoded(picture())
    assert error(client.post(f"{frames}?time=0", content=b"GIF89a...")) == (400, "bad_frame")
    assert error(client.post(f"{frames}?time=0", content=b"")) == (400, "bad_frame")
    assert error(client.post(f"{frames}?time=0", content=whole[: len(whole) // 2])) == (400, "bad_frame")
    assert error(client.post(f"{frames}?time=0", content=b"x" * 4097))[0] == 413
    # A few bytes that would become gigabytes.
    bomb = encoded(np.zeros((65, 64, 3), np.uint8))
    assert client.post(f"{frames}?time=0", content=bomb).status_code == 413
    for moment in ("-1", "nan", "inf", "1e10", "x", ""):
        assert error(client.post(f"{frames}?time={moment}", content=whole)) == (422, "invalid"), moment


@pytest.mark.parametrize("name", ["", " ", "a/b", "../x", "a b", "<b>", "-a", "a" * 65, "ä", "a\n", "a\x00"])
def test_names_that_are_refused(client, name):
    assert error(client.post("/api/streams", json={"name": name})) == (422, "invalid")


def test_as_many_streams_as_allowed(make_client):
    client = make_client(max_streams=2)
    codes = [client.post("/api/streams", json={"name": name}).status_code for name in ("a", "b", "c")]
    assert codes == [201, 201, 429]
    client.delete("/api/streams/a")
    assert client.post("/api/streams", json={"name": "c"}).status_code == 201


def test_sources_of_clients_are_checked(make_client, tmp_path):
    (tmp_path / "films").mkdir()
    film = write_film(tmp_path / "films" / "film.mp4", seconds=2)
    write_film(tmp_path / "secret.mp4", seconds=1)
    client = make_client(roots=(tmp_path / "films",))
    refused = {
        "../secret.mp4": 404, "/etc/passwd": 404, "file:///etc/passwd": 404, "http://127.0.0.1:22/": 403,
        "webcam:0": 403,
        "rtsp://169.254.169.254/latest": 403, "udp://239.0.0.1:1": 403, "/dev/video0": 404, "http://localhost/": 403,
    }  # fmt: skip
    for source, status in refused.items():
        answer = client.post("/api/streams", json={"name": "new", "source": source})
        assert answer.status_code == status, (source, answer.text)
    assert client.get("/api/streams").json() == {"streams": []}  # nothing is left of them
    made = client.post("/api/streams", json={"name": "new", "source": "film.mp4"}).json()
    assert (made["source"], made["clips"]) == (str(film), 1)
    assert client.put("/api/streams/new/source", json={"source": str(tmp_path / "secret.mp4")}).status_code == 404


def test_passwords_stay_on_the_server(client, camera):
    for path in ("/api/streams", f"/api/streams/{camera}"):
        assert "secret" not in client.get(path).text
        assert "rtsp://admin:***@camera/1" in client.get(path).text


def test_questions_that_are_refused(make_client, camera):
    client = make_client(max_question_length=20)
    questions = f"/api/streams/{camera}/questions"
    assert error(client.post(questions, json={"question": "x" * 21})) == (422, "question_too_long")
    assert error(client.post(questions, json={"question": "  "})) == (422, "empty_question")
    for body in (
        {},
        {"question": ""},
        {"question": 1},
        {"question": "a", "at": -1},
        {"question": "a", "more": 1},
        [],
        None,
    ):
        assert client.post(questions, json=body).status_code == 422, body
    client.post("/api/streams", json={"name": "empty"})
    answer = client.post("/api/streams/empty/questions", json={"question": "a"})
    assert (answer.status_code, "captioned" in answer.json()["error"]["message"]) == (400, True)


def test_an_answer_streams(address, service, camera):
    service.pause = 0.2
    body = {"question": "What?", "stream": True, "at": 24}
    pieces, moments = [], []
    with httpx.stream("POST", f"{address}/api/streams/{camera}/questions", json=body, trust_env=False) as response:
        for event, _, data in events(response):
            pieces.append((event, data))
            moments.append(time.monotonic())
    assert [data["text"] for event, data in pieces if event == "text"] == list(service.reply)
    assert pieces[-1][0] == "answer"
    assert pieces[-1][1]["at"] == 24
    assert moments[2] - moments[0] > 0.3  # they came one by one


def test_a_client_that_leaves_frees_the_model(address, service, camera):
    service.pause, service.reply = 0.05, ("word ",) * 2000
    body = {"question": "What?", "stream": True}
    with httpx.stream("POST", f"{address}/api/streams/{camera}/questions", json=body, trust_env=False) as response:
        next(events(response))
    deadline = time.monotonic() + 30
    while not service.abandoned:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_more_questions_than_allowed_are_turned_away(make_client, service, camera):
    client = make_client(max_questions=1)
    slots = client.app_under_test.state.served.questions
    assert slots.acquire(blocking=False)
    assert error(client.post(f"/api/streams/{camera}/questions", json={"question": "a"})) == (429, "too_many_questions")
    slots.release()
    for _ in range(3):  # each gives its slot back
        assert client.post(f"/api/streams/{camera}/questions", json={"question": "a"}).status_code == 200


def test_events_begin_anywhere_and_go_on(address, service, camera):
    path = f"{address}/api/streams/{camera}/events"
    with httpx.stream("GET", path, trust_env=False) as response:
        coming = events(response)
        assert next(coming)[0] == "hello"
        assert [next(coming)[2]["index"] for _ in range(3)] == [0, 1, 2]
        service.push(camera, picture(), 24.0)
        event, number, data = next(coming)
        assert (event, number, data["text"]) == ("caption", "3", "clip 3 shows something <b>new</b>")
    for options in ({"params": {"after": 1}}, {"headers": {"Last-Event-ID": "1"}}):
        with httpx.stream("GET", path, trust_env=False, **options) as response:
            coming = events(response)
            next(coming)
            assert [next(coming)[1] for _ in range(2)] == ["2", "3"]


def test_events_end_with_the_stream(address, service, camera):
    with httpx.stream("GET", f"{address}/api/streams/{camera}/events", trust_env=False) as response:
        coming = events(response)
        next(coming)
        service.delete(camera)
        assert all(event == "caption" for event, _, _ in coming)


def test_pictures_and_their_overlay(client, service, camera):
    newest = client.get(f"/api/streams/{camera}/picture?newest=true").json()
    assert (newest["width"], newest["clip"], newest["overlay"]) == (64, None, None)
    seen = client.get(f"/api/streams/{camera}/picture").json()
    assert seen["image"].startswith("data:image/jpeg;base64,")
    assert (seen["clip"], seen["overlay"]["rows"], seen["overlay"]["cols"], seen["overlay"]["kept"]) == (2, 4, 4, 3)
    assert seen["overlay"]["outline"].startswith("M")
    service.push(camera, picture(red=9), 24.0)  # the stream has been looked at: its clips' pictures are kept
    deadline = time.monotonic() + 30
    while (kept := client.get(f"/api/streams/{camera}/picture?clip=3")).status_code == 404:
        assert time.monotonic() < deadline
    assert (kept.json()["clip"], kept.json()["time"]) == (3, 24.0)
    assert error(client.get(f"/api/streams/{camera}/picture?clip=99")) == (404, "no_picture")


def test_figures_for_prometheus(client, camera):
    client.post(f"/api/streams/{camera}/questions", json={"question": "a"})
    client.get("/api/streams/nobody")
    client.get("/one/of/many/addresses")
    text = client.get("/metrics").text
    for line in (
        'rlivs_clips_total{stream="camera-1"} 3.0',
        'rlivs_lag_seconds{stream="camera-1"} 0.25',
        'rlivs_questions_total{outcome="answered"} 1.0',
        "rlivs_answer_first_text_seconds_count 1.0",
        'rlivs_http_requests_total{method="GET",route="/api/streams/{name}",status="404"} 1.0',
        'rlivs_http_requests_total{method="GET",route="other",status="404"} 1.0',
    ):
        assert line in text, line
    assert "addresses" not in text


def test_a_fault_of_the_server_tells_nothing_of_it(client, service, monkeypatch):
    def broken():
        raise RuntimeError("the inside of the server")

    monkeypatch.setattr(service, "streams", broken)
    answer = client.get("/api/streams")
    assert answer.status_code == 500
    assert "inside" not in answer.text
