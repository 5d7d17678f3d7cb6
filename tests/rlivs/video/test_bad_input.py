"""Files that are no video, or not a whole one: one line each, with the cure."""

from __future__ import annotations

import contextlib
import math
import os
import wave
from fractions import Fraction

import av
import numpy as np
import pytest

from rlivs.errors import InputError
from rlivs.video import check_video, count_clips, iter_clips, open_video


def times(seconds: float, rate: int = 25) -> list[Fraction]:
    return [Fraction(i, rate) for i in range(int(seconds * rate))]


def refused(path) -> str:
    """The message every entrance refuses `path` with."""
    messages = set()
    for entrance in (open_video, check_video, lambda p: count_clips(p, fps=1), lambda p: next(iter_clips(p, fps=1))):
        with pytest.raises(InputError) as caught:
            entrance(path)
        messages.add(str(caught.value))
    (message,) = messages
    assert "\n" not in message and str(path) in message
    return message


def cut(path, share: float):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def test_a_missing_path(tmp_path):
    assert "check the path" in refused(tmp_path / "none.mp4")


def test_a_directory(tmp_path):
    assert "is a directory" in refused(tmp_path)


def test_an_empty_file(tmp_path):
    path = tmp_path / "v.mp4"
    path.touch()
    assert "is empty" in refused(path)


def test_an_unreadable_file(tmp_path, monkeypatch):
    path = tmp_path / "v.mp4"
    path.write_bytes(b"x")
    path.chmod(0)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root, who may run this, can read every file
    assert "chmod u+r" in refused(path)


def test_a_pipe(tmp_path):
    path = tmp_path / "v.mp4"
    os.mkfifo(path)
    assert "not a regular file" in refused(path)


@pytest.mark.parametrize("name", ["notes.txt", "notes.mp4", "notes.nfo", "noise.bin", "noise.mkv"])
def test_no_video_at_all(tmp_path, name):
    path = tmp_path / name
    text = b"Nothing to see here.\n" * 500
    path.write_bytes(np.random.default_rng(0).bytes(20_000) if "noise" in name else text)
    message = refused(path)
    # FFmpeg 7 hears an mp3 in some text.
    assert "give an mp4" in message or "only audio; give a file with pictures" in message


@pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.bmp"])
def test_a_picture(tmp_path, name):
    path = tmp_path / name
    codec, form = {"p.png": ("png", "rgb24"), "p.jpg": ("mjpeg", "yuvj420p"), "p.bmp": ("bmp", "bgr24")}[name]
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, form, Fraction(1)
    frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24").reformat(format=form)
    path.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))
    assert "a picture, not a video" in refused(path)


def test_sound_alone(tmp_path):
    path = tmp_path / "s.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16_000))
    assert "only audio" in refused(path)


def test_a_header_without_frames(encode, tmp_path):
    path = cut(encode(tmp_path / "v.mkv", times(4), container_options={"live": "1"}), 0.15)
    assert "no picture" in refused(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_an_mp4_cut_before_its_index(encode, tmp_path, share):
    path = cut(encode(tmp_path / "v.mp4", times(8), options={"bf": "2"}), share)
    message = refused(path)
    assert "moov" in message and "cut off" in message


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.9, 0.99])
def test_an_mp4_cut_behind_its_index(encode, tmp_path, share):
    path = cut(encode(tmp_path / "v.mp4", times(8), container_options={"movflags": "faststart"}), share)
    message = refused(path)
    assert "cut off" in message and ("ffmpeg" in message or "moov" in message)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
@pytest.mark.parametrize(("name", "codec"), [("v.mkv", "libx264"), ("v.webm", "libvpx-vp9")])
def test_a_matroska_file_that_is_cut_off(encode, tmp_path, name, codec, share):
    path = cut(encode(tmp_path / name, times(4), codec=codec), share)
    message = refused(path)
    assert f"{path.stat().st_size} of its" in message and "ffmpeg" in message


@pytest.mark.parametrize(("name", "codec"), [("v.avi", "mpeg4"), ("v.flv", "libx264")])
def test_a_file_that_ends_before_it_should(encode, tmp_path, name, codec, read_number):
    path = encode(tmp_path / name, times(20), codec=codec, time_base=Fraction(1, 25), options={"g": "25", "bf": "0"})
    check_video(path)
    whole = list(open_video(path).frames())
    cut(path, 0.5)
    with pytest.raises(InputError, match=r"read up to \d+\.\d s only.*cut off.*20\.\d s.*ffmpeg") as early:
        check_video(path)
    frames = []
    with pytest.raises(InputError, match=r"read up to \d+\.\d s only") as late:
        for frame in open_video(path).decode():
            frames.append((frame.time, read_number(frame.image)))
    # The picture the cut runs through may decode into anything.
    assert frames[:-1] == [(frame.time, read_number(frame.image)) for frame in whole[: len(frames) - 1]]
    assert 3 < frames[-1][0] < 17
    for caught in (early, late):
        assert "\n" not in str(caught.value)
        assert abs(float(str(caught.value).split("up to ")[1].split(" s")[0]) - frames[-1][0]) < 0.2
    clips = iter_clips(path, fps=5, frames_per_clip=4)
    good = []
    with pytest.raises(InputError, match="read up to"):
        for clip in clips:
            good.append(clip.index)
    assert good == list(range(math.floor(frames[-1][0] * 5 / 4)))


def test_damage_in_the_middle(encode, tmp_path, read_number):
    path = encode(tmp_path / "v.avi", times(8), codec="mjpeg", time_base=Fraction(1, 25))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 5000] = bytes(5000)
    path.write_bytes(data)
    numbers = []
    with pytest.raises(InputError, match=r"read up to \d\.\d s only: its data is damaged there .*ffmpeg") as caught:
        for frame in open_video(path).decode():
            numbers.append(read_number(frame.image))
    assert "\n" not in str(caught.value)
    assert 50 < len(numbers) < 150
    assert numbers[:-1] == list(range(len(numbers) - 1))


def test_whole_files_with_a_late_silent_end_are_accepted(encode, tmp_path):
    """A last picture that stays for 30 s, and sound that goes on after it, are no sign of a cut."""
    for name in ("v.mp4", "v.mkv"):
        path = encode(tmp_path / name, times(2), last_duration=Fraction(30))
        check_video(path)
        assert len(list(open_video(path).decode())) == 50
    for name in ("s.mp4", "s.mkv", "s.flv"):
        path = encode(tmp_path / name, times(2), audio_times=(0.0, 9.0))
        check_video(path)
        last = list(open_video(path).decode())[-1]
        assert last.end == pytest.approx(2.0, abs=1e-6)


def test_junk_behind_the_last_box_is_harmless(encode, tmp_path):
    path = encode(tmp_path / "v.mp4", times(2))
    for junk in (b"\0" * 100, b"\xff" * 100, b"JUNKJUNKJUNK", b"abc"):
        data = path.read_bytes()
        longer = tmp_path / "longer.mp4"
        longer.write_bytes(data + junk)
        assert len(list(open_video(longer).decode())) == 50


def test_nothing_is_printed(encode, tmp_path, capfd):
    for name, share in (("v.mp4", 0.5), ("v.mkv", 0.5), ("v.ts", 0.31), ("v.avi", 0.5)):
        codec = "mpeg4" if name == "v.avi" else "libx264"
        path = encode(tmp_path / name, times(4), codec=codec, time_base=Fraction(1, 25), options={"g": "25"})
        capfd.readouterr()
        cut(path, share)
        with contextlib.suppress(InputError):
            list(open_video(path).frames())
        assert capfd.readouterr() == ("", "")
