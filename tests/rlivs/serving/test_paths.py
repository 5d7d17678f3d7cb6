"""Which files a client may have read: those that really lie under an allowed folder."""

import os

import pytest
from films import write_film

from rlivs.serving.paths import check_path, path_of_file_url
from rlivs.serving.refusals import Refusal


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "films"
    (folder / "more").mkdir(parents=True)
    (folder / "film.mp4").write_bytes(b"film")
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (tmp_path / "films-too").mkdir()
    (tmp_path / "films-too" / "secret.mp4").write_bytes(b"secret")
    (folder / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (folder / "out").symlink_to(tmp_path)
    (folder / "inside.mp4").symlink_to(folder / "film.mp4")
    return folder.resolve()


def test_files_under_the_root(root):
    film = root / "film.mp4"
    for text in ("film.mp4", str(film), "more/../film.mp4", "./film.mp4", "inside.mp4"):
        assert check_path(text, [root]) == film
    assert check_path(path_of_file_url(f"file://{film}"), [root]) == film
    assert check_path(path_of_file_url(f"file://localhost{root}/fil%6D.mp4"), [root]) == film


@pytest.mark.parametrize(
    "text",
    [
        "../secret.mp4", "more/../../secret.mp4", "link.mp4", "out/secret.mp4", "../films-too/secret.mp4",
        "/etc/passwd",
        "..", ".", "", "more", "no-such.mp4", "film.mp4\x00.txt", "\udcff", "a" * 5000, "/dev/stdin", "/dev/video0",
        "/proc/self/environ", "//etc/passwd", "~/.bashrc", "....//secret.mp4", "%2e%2e/secret.mp4",
    ],
)  # fmt: skip
def test_everything_else_reads_like_a_missing_file(root, text):
    with pytest.raises(Refusal) as refusal:
        check_path(text, [root])
    assert (refusal.value.status, str(refusal.value)) == (404, "there is no such video under the allowed folders")


@pytest.mark.parametrize(
    "url", ["file://server/share/film.mp4", "file:///films/../../etc/passwd?x=1", "file://%2e%2e/etc", "file:///a#b"]
)
def test_file_addresses_of_other_machines(root, url):
    with pytest.raises(Refusal):
        check_path(path_of_file_url(url), [root])


def test_percent_encoded_ways_out(root):
    with pytest.raises(Refusal):
        check_path(path_of_file_url(f"file://{root}/%2e%2e/secret.mp4"), [root])


def test_no_roots_no_files(tmp_path):
    film = write_film(tmp_path / "film.mp4", seconds=1)
    with pytest.raises(Refusal, match="--root"):
        check_path(str(film), [])


@pytest.mark.parametrize(
    "text", ["#EXTM3U\nhttp://10.0.0.1/a.ts", "\ufeffffconcat version 1.0\nfile x", "v=0\nc=IN IP4 10.0.0.1"]
)
def test_lists_of_further_addresses_are_no_videos(root, text):
    (root / "list.mp4").write_text(text)
    with pytest.raises(Refusal, match="list"):
        check_path("list.mp4", [root])


def test_pipes_are_no_files(root):
    os.mkfifo(root / "pipe.mp4")
    with pytest.raises(Refusal, match="no such video"):
        check_path("pipe.mp4", [root])
