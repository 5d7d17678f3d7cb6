"""Frames and their times, as encoded, from any moment on."""

from __future__ import annotations

import functools
import http.server
import threading
from fractions import Fraction

import av
import numpy as np
import pytest

from rlivs.video import DecodedFrame, decoding, open_video


def test_every_frame_at_its_time(video, read_number):
    path, times = video
    frames = list(open_video(path).frames())
    assert [read_number(frame.image) for frame in frames] == list(range(len(times)))
    # A transport stream counts in 1/90000 s and an mp4 in 1/16000 s: the milliseconds encoded here may move by that.
    np.testing.assert_allclose([frame.time for frame in frames], times, rtol=0, atol=1e-4)
    assert all(frame.image.shape == (48, 64, 3) and frame.image.dtype == np.uint8 for frame in frames)


def test_a_frame_ends_when_the_next_begins(video):
    path, _ = video
    frames = list(open_video(path).frames())
    assert [frame.end for frame in frames[:-1]] == [frame.time for frame in frames[1:]]
    assert frames[-1].end > frames[-1].time


def test_frames_from_any_time_are_the_tail_of_all_frames(video):
    path, times = video
    with open_video(path) as source:
        every = list(source.frames())
        for start in [
            0.0,
            0.013,
            0.04,
            1.0,
            times[30],
            times[31] - 1e-6,
            times[47],
            times[48],
            times[-1],
            times[-1] + 9,
        ]:
            expected = [frame for frame in every if frame.end > start]
            tail = list(source.frames(start))
            assert [(frame.time, frame.end) for frame in tail] == [(frame.time, frame.end) for frame in expected]
            assert all(np.array_equal(a.image, b.image) for a, b in zip(tail, expected, strict=True))


@pytest.mark.parametrize(("start", "at_most"), [(19.0, 50), (17.96, 350)])
@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_what_comes_long_before_is_not_decoded(encode, tmp_path, monkeypatch, name, start, at_most):
    """Key frames every 2 s; the picture at 17.96 s needs the one at 18 s, which is stored before it."""
    open_groups = {"x264-params": "open-gop=1:keyint=50:bframes=3:b-adapt=0:scenecut=0"}
    path = encode(tmp_path / name, [Fraction(i, 25) for i in range(500)], options=open_groups)
    every = [(frame.time, frame.end) for frame in open_video(path).decode() if frame.end > start]
    decoded = []
    monkeypatch.setattr(decoding, "DecodedFrame", lambda *args: decoded.append(args) or DecodedFrame(*args))
    assert [(frame.time, frame.end) for frame in open_video(path).decode(start)] == every
    assert len(decoded) <= at_most


def test_duration(video):
    path, times = video
    source = open_video(path)
    if source.duration is None:
        assert path.name == "g.mkv"  # a recording that was never closed states none
        return
    last = list(source.decode())[-1]
    assert times[-1] < last.end
    assert abs(source.duration - last.end) < 0.6  # 0.5 s: the longest gap between the frames made here


def test_only_pictures_whose_image_is_read_become_rgb(encode, tmp_path, monkeypatch):
    path = encode(tmp_path / "v.mp4", [Fraction(i, 25) for i in range(100)])
    converted = []
    make_image = DecodedFrame.image.func
    counting = functools.cached_property(lambda frame: converted.append(frame.time) or make_image(frame))
    counting.__set_name__(DecodedFrame, "image")
    monkeypatch.setattr(DecodedFrame, "image", counting)
    frames = list(open_video(path).decode())
    assert converted == []
    assert frames[7].image is frames[7].image
    assert converted == [7 / 25]


def test_the_frame_rate_and_size(encode, tmp_path):
    source = open_video(encode(tmp_path / "v.mp4", [Fraction(i, 20) for i in range(40)], rate=20))
    assert (source.width, source.height, source.frame_rate) == (64, 48, 20.0)


def test_frames_without_timestamps_come_at_the_nominal_rate(encode, tmp_path, read_number):
    path = encode(tmp_path / "v.h264", [Fraction(i, 25) for i in range(60)], options={"bf": "2"})
    source = open_video(path)
    assert source.duration is None
    frames = list(source.frames())
    assert [frame.time for frame in frames] == [i / 25 for i in range(60)]
    assert [read_number(frame.image) for frame in frames] == list(range(60))
    assert [frame.time for frame in source.frames(1.0)] == [i / 25 for i in range(25, 60)]


def test_two_recordings_joined_play_one_after_the_other(encode, tmp_path, read_number):
    first = encode(tmp_path / "a.ts", [Fraction(i, 25) for i in range(50)], options={"bf": "0"})
    second = encode(tmp_path / "b.ts", [Fraction(i, 25) for i in range(50)], first_number=50, options={"bf": "0"})
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    frames = list(open_video(joined).frames())
    assert [read_number(frame.image) for frame in frames] == list(range(100))
    assert [frame.time for frame in frames] == [i / 25 for i in range(100)]


def test_a_recording_that_begins_between_key_frames(encode, tmp_path, read_number):
    whole = encode(tmp_path / "a.ts", [Fraction(i, 25) for i in range(100)], options={"g": "50", "bf": "0"})
    tail = tmp_path / "tail.ts"
    data = whole.read_bytes()
    # The tables that open a transport stream take two packets of 188 bytes; the rest begins inside the first group.
    tail.write_bytes(data[: 3 * 188] + data[len(data) // 188 // 4 * 188 :])
    numbers = [read_number(frame.image) for frame in open_video(tail).frames()]
    assert numbers[-50:] == list(range(50, 100))


@pytest.mark.parametrize(("matrix", "turns"), [((0, 1, -1, 0), 3), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)])
def test_the_rotation_a_phone_notes_is_applied(encode, tmp_path, matrix, turns, draw_number):
    if not hasattr(av.VideoFrame, "rotation"):
        pytest.skip("this PyAV does not expose the rotation")
    path = encode(tmp_path / "v.mp4", [Fraction(i, 25) for i in range(5)])
    a, b, c, d = (value * 0x10000 & 0xFFFFFFFF for value in matrix)
    upright = b"".join(x.to_bytes(4, "big") for x in (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000))
    turned = b"".join(x.to_bytes(4, "big") for x in (a, b, 0, c, d, 0, 0, 0, 0x40000000))
    data = path.read_bytes()
    track = data.index(b"tkhd")
    path.write_bytes(data[:track] + data[track:].replace(upright, turned, 1))
    image = next(iter(open_video(path).frames(2 / 25))).image
    expected = np.rot90(draw_number(2), turns)
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 10


def test_the_lead_in_of_sound_does_not_move_the_pictures(encode, tmp_path):
    for name in ("v.flv", "v.mkv", "v.mp4", "v.ts"):
        path = encode(tmp_path / name, [Fraction(i, 25) for i in range(50)], audio_times=(0.0, 2.0))
        assert [frame.time for frame in open_video(path).decode()] == [i / 25 for i in range(50)]


def test_a_long_last_frame_is_shown_to_the_stated_end(encode, tmp_path):
    times = [Fraction(0), Fraction(1), Fraction(2)]
    for name in ("v.mp4", "v.mkv"):
        path = encode(tmp_path / name, times, options={"bf": "0"}, last_duration=Fraction(7))
        assert list(open_video(path).decode())[-1].end == 9.0


@pytest.mark.parametrize("name", ["12:30 talk.mp4", "pipe:1.mp4", "ünï %03d.mkv", "-v.mp4"])
def test_odd_names(encode, tmp_path, monkeypatch, name):
    encode(tmp_path / "v.mkv", [Fraction(i, 25) for i in range(5)]).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(list(open_video(name).frames())) == 5


def test_an_address(encode, tmp_path):
    encode(tmp_path / "v.mp4", [Fraction(i, 25) for i in range(50)])
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        times = [frame.time for frame in open_video(f"http://127.0.0.1:{server.server_port}/v.mp4").decode(1.0)]
        server.shutdown()
    assert times == [i / 25 for i in range(25, 50)]
