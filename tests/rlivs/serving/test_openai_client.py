"""The `openai` client as it comes, against `/v1`."""

import base64
import os
import struct
import time

import httpx
import openai
import pytest
from films import write_film

from rlivs.serving.app import create_app
from rlivs.serving.settings import make_settings


@pytest.fixture
def ask(address):
    """A chat completion about a video."""
    client = openai.OpenAI(
        base_url=f"{address}/v1", api_key="any", max_retries=0, http_client=httpx.Client(trust_env=False)
    )

    def ask(url, question="What is there?", **options):
        content = [{"type": "text", "text": question}, {"type": "video_url", "video_url": {"url": url}}]
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
        return client.chat.completions.create(model="tiny", messages=messages, temperature=0, max_tokens=64, **options)

    ask.client = client
    return ask


def test_an_answer(ask, camera):
    answer = ask(f"stream:{camera}")
    choice = answer.choices[0]
    assert (choice.message.content, choice.message.role, choice.finish_reason) == (
        "a red circle moves left",
        "assistant",
        "stop",
    )
    assert [cited["index"] for cited in choice.message.model_extra["citations"]] == [1, 2]
    assert answer.object == "chat.completion"
    assert answer.usage.completion_tokens == len("a red circle moves left")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_an_answer_that_streams(ask, camera, service):
    service.pause = 0.2
    chunks, moments = [], []
    for chunk in ask(f"stream:{camera}", stream=True, stream_options={"include_usage": True}):
        chunks.append(chunk)
        moments.append(time.monotonic())
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert tuple(pieces) == service.reply
    assert moments[-1] - moments[0] > 0.3  # they came one by one
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert len(chunks[-2].choices[0].delta.model_extra["citations"]) == 2
    assert chunks[-1].usage.completion_tokens > 0
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_question_may_come_after_the_video(ask, camera):
    messages = [
        {"role": "user", "content": [{"type": "video_url", "video_url": {"url": f"stream:{camera}"}}]},
        {"role": "assistant", "content": "I have seen it."},
        {"role": "user", "content": "What is there?"},
    ]
    answer = ask.client.chat.completions.create(model="tiny", messages=messages, extra_body={"at": 8})
    assert answer.choices[0].message.content == "a red circle moves left"


def test_models(ask):
    assert [model.id for model in ask.client.models.list()] == ["tiny"]


def test_a_film_in_the_request(ask, service, tmp_path):
    film = base64.b64encode(write_film(tmp_path / "film.mp4", seconds=4).read_bytes()).decode()
    for _ in range(2):  # the second time it is known
        assert ask(f"data:video/mp4;base64,{film}").choices[0].message.content == "a red circle moves left"
    (status,) = service.streams()
    assert (status.clips, status.stream.startswith("chat-")) == (2, True)


def test_a_film_under_an_allowed_folder(make_client, service, tmp_path):
    write_film(tmp_path / "film.mp4", seconds=4)
    client = make_client(roots=(tmp_path,))

    def ask(url):
        content = [{"type": "text", "text": "What?"}, {"type": "video_url", "video_url": {"url": url}}]
        return client.post(
            "/v1/chat/completions", json={"model": "m", "messages": [{"role": "user", "content": content}]}
        )

    assert ask("film.mp4").status_code == 200
    assert ask(f"file://{tmp_path}/film.mp4").status_code == 200
    refused = {
        "../film.mp4": 404, "file:///etc/passwd": 404, "http://127.0.0.1/": 403, "http://[::1]/": 403,
        "stream:nobody": 404,
        "http://169.254.169.254/latest/meta-data": 403, "data:text/html,<b>": 400, "data:video/mp4;base64,!!": 400,
        "data:video/mp4;base64,AAAA": 400, "gopher://127.0.0.1/": 403, "webcam:0": 403,
    }  # fmt: skip
    for url, status in refused.items():
        answer = ask(url)
        assert (answer.status_code, set(answer.json())) == (status, {"error"}), (url, answer.text)


def ask_for(client, url):
    content = [{"type": "text", "text": "What?"}, {"type": "video_url", "video_url": {"url": url}}]
    body = {"model": "m", "messages": [{"role": "user", "content": content}]}
    return client.post("/v1/chat/completions", json=body).status_code


def data_url(data):
    return f"data:video/mp4;base64,{base64.b64encode(data).decode()}"


def test_films_in_requests_leave_no_more_files_than_are_remembered(client, service, tmp_path):
    film = write_film(tmp_path / "film.mp4", seconds=1).read_bytes()
    films = [film + struct.pack(">I4sI", 12, b"free", number) for number in range(12)]
    for each in films:
        assert ask_for(client, data_url(each)) == 200
        assert ask_for(client, data_url(b"junk" + each)) == 400
    kept = service.streams()
    folder = client.app_under_test.state.served.films._folder.name
    assert len(kept) == 8
    assert sorted(os.path.join(folder, name) for name in os.listdir(folder)) == sorted(each.source for each in kept)
    assert ask_for(client, data_url(films[-1])) == 200  # one that is remembered
    assert {each.stream for each in service.streams()} == {each.stream for each in kept}


def test_a_film_that_fails_later_leaves_no_file(client, service, tmp_path, monkeypatch):
    def fail(stream, source):
        source.close()
        service._get(stream).state = "failed"

    monkeypatch.setattr(service, "attach", fail)
    assert ask_for(client, data_url(write_film(tmp_path / "film.mp4", seconds=1).read_bytes())) == 400
    assert service.streams() == [] and os.listdir(client.app_under_test.state.served.films._folder.name) == []


def test_films_of_an_earlier_server_go_first(make_client, service, tmp_path):
    film = write_film(tmp_path / "film.mp4", seconds=1)
    first = make_client(roots=(tmp_path,))
    assert ask_for(first, "film.mp4") == 200
    [known] = [each.stream for each in service.streams()]
    older = [f"chat-{number:016x}" for number in range(9)]
    for name in [*older, "chat-room"]:
        service.create(name)
    client = make_client(roots=(tmp_path,))
    assert ask_for(client, "film.mp4") == 200  # it is known, and stays
    assert [each.stream for each in service.streams()] == [known, *older[2:], "chat-room"]
    assert ask_for(client, data_url(film.read_bytes())) == 200
    assert [each.stream for each in service.streams()][:-1] == [known, *older[3:], "chat-room"]


def test_what_the_client_raises(ask, camera, service):
    with pytest.raises(openai.NotFoundError, match="no stream 'nobody'"):
        ask("stream:nobody")
    with pytest.raises(openai.PermissionDeniedError, match="not allowed"):
        ask("http://169.254.169.254/")
    with pytest.raises(openai.UnprocessableEntityError, match="no video"):
        ask.client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "Hello"}])
    with pytest.raises(openai.UnprocessableEntityError):
        ask(f"stream:{camera}", n=2)
    service.create("empty")
    with pytest.raises(openai.APIError, match="captioned"):
        list(ask("stream:empty", stream=True))


def test_the_key_is_the_token(service, serve_at):
    token = "a-token-of-32-characters-or-more"
    app = create_app(service, make_settings(token=token))
    with serve_at(app) as address:
        for key, right in ((token, True), ("wrong", False)):
            client = openai.OpenAI(
                base_url=f"{address}/v1", api_key=key, max_retries=0, http_client=httpx.Client(trust_env=False)
            )
            if right:
                assert client.models.list().data
            else:
                with pytest.raises(openai.AuthenticationError):
                    client.models.list()
