"""Sources that wait."""

import numpy as np
import pytest

from rlivs.errors import InputError
from rlivs.video.live import FileSource, FrameSource, LiveSource, is_address, open_source


def pictures(count):
    return [np.full((4, 4, 3), number, np.uint8) for number in range(count)]


def test_frames_of_a_program_are_placed_by_their_rate():
    source = open_source(iter(pictures(4)), rate=2)
    assert [frame.time for frame in source.frames()] == [0.0, 0.5, 1.0, 1.5]
    assert source.status().frames_in == 4 and source.status().frames_dropped == 0
    assert source.status().state == "ended" and not source.live


def test_frames_with_their_own_times():
    source = open_source([(picture, 3.0 * number) for number, picture in enumerate(pictures(3))])
    assert [frame.time for frame in source.frames()] == [0.0, 3.0, 6.0]


def test_frames_begin_with_the_one_shown_then():
    source = open_source(pictures(5), rate=1)
    assert [frame.time for frame in source.frames(2.5)] == [2.0, 3.0, 4.0]


def test_a_frame_of_another_kind_is_refused():
    source = open_source([np.zeros((4, 4), np.uint8)])
    with pytest.raises(InputError, match=r"\[height, width, 3\]"):
        list(source.frames())
    assert source.status().state == "failed"


def test_a_file_is_told_from_a_stream(film):
    assert isinstance(open_source(film), FileSource)
    assert isinstance(open_source("rtsp://127.0.0.1/x"), LiveSource)
    assert isinstance(open_source("udp://127.0.0.1:9"), LiveSource)
    assert isinstance(open_source(pictures(1)), FrameSource)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("gopher://x/y", "no kind of source"),
        ("/nowhere/film.mp4", "no video at"),
        ("webcam:97", "webcam"),
        ("http://127.0.0.1:9/film.mp4", "check the address"),
        (7, "not int"),
    ],
)
def test_what_cannot_be_opened_is_said_in_one_line(spec, words):
    with pytest.raises(InputError, match=words) as refused:
        open_source(spec)
    assert "\n" not in str(refused.value)


def test_closing_ends_an_iteration(film):
    source = open_source(film)
    frames = source.frames()
    next(frames)
    source.close()
    assert list(frames) == []
    assert source.status().state == "closed"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("rtsp://camera/door", True), ("https://a/b.mp4", True), ("webcam:0", True), ("/dev/video0", True),
        ("/dev/shm/film.mp4", False), ("film.mp4", False), ("webcam.mp4", False),
    ],
)  # fmt: skip
def test_addresses_and_files(name, address):
    assert is_address(name) == address
