"""Who may ask: the token, other sites' pages, sizes, headers."""

import asyncio

import pytest

from rlivs.errors import InputError
from rlivs.serving.guard import Guard
from rlivs.serving.settings import make_settings, make_token

TOKEN = "a-token-of-32-characters-or-more"


@pytest.fixture
def guarded(make_client):
    return make_client(host="0.0.0.0", token=TOKEN, base_url="http://server.test")


def test_other_machines_need_a_token():
    for host in ("0.0.0.0", "::", "192.168.1.5", "server.test"):
        with pytest.raises(InputError, match="token"):
            make_settings(host=host)
        make_settings(host=host, token=make_token())
    for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9"):
        make_settings(host=host)
    with pytest.raises(InputError, match="token"):
        make_settings(host="0.0.0.0", token="short")


@pytest.mark.parametrize(
    "path", ["/api/streams", "/v1/models", "/metrics", "/openapi.json", "/api/streams/x/events", "/no"]
)
def test_without_the_token_nothing_is_told(guarded, path):
    for header in (None, "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer é"):
        headers = {"Authorization": header.encode("latin-1")} if header else {}
        answer = guarded.get(path, headers=headers)
        assert answer.status_code == 401, header
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["type"] == "authentication_error"


def test_with_the_token_everything_is_there(guarded):
    for scheme in ("Bearer", "bearer"):
        assert guarded.get("/api/streams", headers={"Authorization": f"{scheme} {TOKEN}"}).status_code == 200


def test_the_page_is_open_and_only_to_reading(guarded):
    for path in ("/", "/healthz", "/page/page.js", "/favicon.ico"):
        assert guarded.get(path).status_code == 200, path
        assert guarded.post(path).status_code == 401, path
    assert guarded.get("/page/../api/streams").status_code == 401


@pytest.mark.parametrize(
    "path", ["..%2fapp.py", "%2e%2e/app.py", "..%5capp.py", "%2e%2e%2f%2e%2e%2fconfig.py", "//etc/passwd"]
)
def test_the_page_folder_cannot_be_left(client, path):
    assert client.get(f"/page/{path}").status_code == 404


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1.evil.test", "192.168.1.5:8000", "", "localhost@evil.test"])
def test_a_name_that_was_pointed_at_this_machine_is_refused(client, host):
    assert client.get("/api/streams", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "[::1]:8000", "LOCALHOST"])
def test_this_machine_by_its_own_names(client, host):
    assert client.get("/api/streams", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.test", "null", "https://127.0.0.1.evil.test", "http://127.0.0.1:9999", "http://[::1"]
)
def test_pages_of_other_sites_are_refused(client, guarded, origin):
    headers = {"Origin": origin, "Host": "127.0.0.1"}
    assert client.post("/api/streams", json={"name": "a"}, headers=headers).status_code == 403
    with_token = {"Origin": origin, "Authorization": f"Bearer {TOKEN}"}
    assert guarded.get("/api/streams", headers=with_token).status_code == 403
    assert client.get("/api/streams", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    own = {"Origin": "http://127.0.0.1:8000", "Host": "127.0.0.1:8000"}
    assert client.post("/api/streams", json={"name": "a"}, headers=own).status_code == 201


def test_forms_of_other_sites_are_no_json(client):
    """A form can be sent anywhere without asking; its content type gives it away."""
    answer = client.post("/api/streams", content='{"name": "a"}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 422


def test_large_bodies_are_refused(make_client):
    client = make_client(max_body=2048)
    for content in (b"x" * 2049, iter([b"x" * 1500, b"x" * 1500])):  # with a length, and without
        answer = client.post("/api/streams", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert "2048 bytes" in answer.json()["error"]["message"]
    for length in ("-1", "1e9", "99999999999999999999"):
        assert client.post("/api/streams", content=b"", headers={"Content-Length": length}).status_code == 413


def test_a_body_that_never_ends_is_given_up():
    sent = []

    async def app(scope, receive, send):
        await receive()

    async def receive():
        await asyncio.sleep(3600)

    async def send(message):
        sent.append(message)

    guard = Guard(app, make_settings(body_timeout=0.05))
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"localhost")]}
    with pytest.raises(Exception, match="too slowly"):
        asyncio.run(guard(scope, receive, send))


def test_every_answer_has_the_headers(client, guarded):
    answers = [client.get(path) for path in ("/", "/page/page.js", "/api/streams", "/nowhere", "/api/streams/x")]
    for answer in [*answers, guarded.get("/api/streams"), client.post("/api/streams", json={})]:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers


def test_the_page_needs_nothing_from_elsewhere_and_nothing_inline(client):
    page = client.get("/").text
    assert "style=" not in page
    assert " on" + "click" not in page
    assert page.count("<script") == 1
    assert 'src="page/page.js"' in page
    assert "http" not in page
