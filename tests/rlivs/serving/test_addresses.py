"""Which addresses a client may have read: judged by where they lead."""

import pytest

from rlivs.serving.addresses import check_url, is_allowed_address, without_password
from rlivs.serving.refusals import Refusal
from rlivs.serving.settings import make_settings

OPEN = make_settings(hosts=("*",))


def resolver(*addresses):
    return lambda host, port: list(addresses)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.0.1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "0.0.0.0",
        "169.254.169.254", "192.0.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.2.3", "240.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "2002:a00:1::", "2001:0:7f00:1::", "2001:db8::1", "no address",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused(address):
    assert not is_allowed_address(address, allow_private=False)
    with pytest.raises(Refusal, match="not public"):
        check_url("http://camera.test/", OPEN, resolver("93.184.215.14", address))


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_allowed(address):
    assert is_allowed_address(address, allow_private=False)
    assert check_url("http://camera.test/", OPEN, resolver(address)).addresses == (address,)


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "::", "::ffff:169.254.1.1"])
def test_some_are_refused_even_where_private_ones_are_allowed(address):
    assert not is_allowed_address(address, allow_private=True)
    assert is_allowed_address("192.168.1.20", allow_private=True)
    assert is_allowed_address("127.0.0.1", allow_private=True)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::1]", "[::ffff:7f00:1]", "0"],
)
def test_every_spelling_of_this_machine_is_refused(host):
    """By the machine's own resolver: it is what reads such names."""
    with pytest.raises(Refusal):
        check_url(f"http://{host}:8000/", OPEN)


@pytest.mark.parametrize(
    "url",
    [
        "http://camera.test@10.0.0.1/", "http://a@b@camera.test/", "http://camera.test\\@10.0.0.1/",
        "http://camera.test#@10.0.0.1/", "http://camera.test /", "http://camera.test/\r\nHost: x", "http://camera.test/\x00",
        "http:///film.mp4", "http://", "http://[::1", "http://camera.test:99999/", "http://camera.test:-1/",
        "http://camera.test:0/", "http://camerä.test/", "http://[fe80::1%25eth0]/", "http://" + "a" * 3000,
    ],
)  # fmt: skip
def test_ambiguous_addresses_are_refused(url):
    with pytest.raises(Refusal):
        check_url(url, make_settings(hosts=("camera.test",)), resolver("93.184.215.14"))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://camera.test/", "gopher://camera.test/", "udp://camera.test:1234", "tcp://camera.test:22", "rtp://camera.test",
        "concat:http://camera.test/a", "data:video/mp4;base64,AAAA", "rtmp://camera.test/a", "srt://camera.test:1",
        "file:///etc/passwd", "subfile,,start,0,end,9,,:/etc/passwd", "crypto:http://camera.test/", "rtsps://camera.test/",
    ],
)  # fmt: skip
def test_other_schemes_are_refused(url):
    with pytest.raises(Refusal, match="not allowed"):
        check_url(url, OPEN, resolver("93.184.215.14"))


def test_hosts_must_be_allowed():
    some = make_settings(hosts=("Camera.test.", "*.example.org"))
    public = resolver("93.184.215.14")
    for url in ("rtsp://camera.test/a", "http://CAMERA.TEST/a", "https://a.b.example.org/", "http://camera.test./"):
        check_url(url, some, public)
    for url in (
        "http://example.org/",
        "http://badexample.org/",
        "http://camera.test.evil.org/",
        "http://xcamera.test/",
    ):
        with pytest.raises(Refusal, match="--allow-host"):
            check_url(url, some, public)
    with pytest.raises(Refusal, match="--allow-host"):
        check_url("http://camera.test/", make_settings(), public)


def test_what_was_checked_is_what_is_used():
    found = check_url("rtsp://user:pass@Camera.test/live?channel=1#part", OPEN, resolver("93.184.215.14"))
    assert found.url == "rtsp://user:pass@camera.test:554/live?channel=1"
    assert (found.host, found.port, found.addresses) == ("camera.test", 554, ("93.184.215.14",))


def test_a_host_without_an_address_is_refused():
    def failing(host, port):
        raise OSError("no such name")

    with pytest.raises(Refusal, match="no address"):
        check_url("http://camera.test/", OPEN, failing)


def test_passwords_are_not_shown():
    assert without_password("rtsp://admin:secret@cam/1") == "rtsp://admin:***@cam/1"
    assert without_password("rtsp://admin:a@b@cam/1") == "rtsp://admin:***@cam/1"
    for plain in ("film.mp4", "rtsp://cam/1", "/films/a@b.mp4", "rtsp://cam/a:b@c"):
        assert without_password(plain) == plain
