"""Videos made in code: every frame shows its own number, so a wrong frame is always seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

WIDTH, HEIGHT = 64, 48
BLOCK = 16  # a black or white square per binary digit of the frame's number: 12 digits survive any codec


def numbered_image(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    digits = [(number >> digit) & 1 for digit in range(12)]
    squares = np.array(digits, np.uint8).reshape(HEIGHT // BLOCK, WIDTH // BLOCK) * 255
    image = squares.repeat(height // squares.shape[0], 0).repeat(width // squares.shape[1], 1)
    return np.ascontiguousarray(np.broadcast_to(image[:, :, None], (height, width, 3)))


def number_of(image: np.ndarray) -> int:
    rows, columns = HEIGHT // BLOCK, WIDTH // BLOCK
    height, width = image.shape[0] // rows, image.shape[1] // columns
    means = image[: rows * height, : columns * width].reshape(rows, height, columns, width, 3).mean((1, 3, 4))
    return sum(int(bright) << digit for digit, bright in enumerate((means > 127).ravel()))


def encode_video(
    path: Path,
    times: Sequence[Fraction],
    *,
    codec: str = "libx264",
    time_base: Fraction = Fraction(1, 1000),
    rate: int = 25,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    last_duration: Fraction | None = None,
    audio_times: tuple[float, float] | None = None,
    first_number: int = 0,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """A video whose frame i shows i + first_number from times[i] on; audio_times: start and end of a tone."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = time_base
        if audio_times is not None:
            sound = container.add_stream("aac", rate=16000)
            sound.layout = "mono"
            for start in np.arange(audio_times[0], audio_times[1], 1024 / 16000):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                frame.sample_rate, frame.time_base = 16000, Fraction(1, 16000)
                frame.pts = round(start * 16000)
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
        packets = []
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered_image(number + first_number, *size), format="rgb24")
            assert (time / time_base).denominator == 1, "times must be whole in the time base"
            frame.pts, frame.time_base = int(time / time_base), time_base
            packets += stream.encode(frame)
        packets += stream.encode(None)
        if last_duration is not None:
            packets[-1].duration = int(last_duration / packets[-1].time_base)
        for packet in packets:
            container.mux(packet)
    return path


@pytest.fixture(scope="session")
def encode() -> Callable[..., Path]:
    return encode_video


@pytest.fixture(scope="session")
def read_number() -> Callable[[np.ndarray], int]:
    return number_of


@pytest.fixture(scope="session")
def draw_number() -> Callable[..., np.ndarray]:
    return numbered_image


def constant_times(count: int, rate: int = 25) -> list[Fraction]:
    return [Fraction(number, rate) for number in range(count)]


def variable_times(count: int, seed: int = 0) -> list[Fraction]:
    """Milliseconds, gaps of 20 ms to 0.5 s."""
    gaps = np.random.default_rng(seed).integers(20, 500, count - 1)
    return [Fraction(int(time), 1000) for time in np.concatenate([[0], gaps.cumsum()])]


# name: (file, times, what encode_video takes)
VIDEOS: dict[str, tuple[str, list[Fraction], dict]] = {
    "h264 mp4, constant rate": ("a.mp4", constant_times(120), {"options": {"g": "24", "bf": "0"}}),
    "h264 mp4, B-frames": ("b.mp4", constant_times(120), {"options": {"g": "24", "bf": "3"}}),
    "h264 mp4, variable rate, B-frames": ("c.mp4", variable_times(90), {"options": {"g": "24", "bf": "3"}}),
    "h264 mp4, open GOP": (
        "d.mp4",
        constant_times(120),
        {"options": {"x264-params": "open-gop=1:keyint=24:bframes=3:b-adapt=0:scenecut=0"}},
    ),
    "h264 mp4, fragmented": (
        "e.mp4",
        constant_times(120),
        {"options": {"g": "24"}, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    ),
    "h264 mkv, variable rate, B-frames": ("f.mkv", variable_times(90, 1), {"options": {"g": "24", "bf": "3"}}),
    "h264 mkv, never closed": (
        "g.mkv",
        constant_times(120),
        {"options": {"g": "24"}, "container_options": {"live": "1"}},
    ),
    "h264 mkv, begins at one hour": ("h.mkv", [3600 + time for time in constant_times(120)], {"options": {"g": "24"}}),
    "hevc mp4": (
        "i.mp4",
        constant_times(120),
        {"codec": "libx265", "options": {"x265-params": "keyint=24:log-level=0"}},
    ),
    "h264 ts, B-frames": ("j.ts", constant_times(120), {"options": {"g": "24", "bf": "3"}}),
    "h264 ts, variable rate": ("k.ts", variable_times(90, 2), {"options": {"g": "24", "bf": "2"}}),
    "mpeg4 avi": (
        "l.avi",
        constant_times(120),
        {"codec": "mpeg4", "time_base": Fraction(1, 25), "options": {"g": "24"}},
    ),
    "mpeg4 avi, B-frames": (
        "m.avi",
        constant_times(120),
        {"codec": "mpeg4", "time_base": Fraction(1, 25), "options": {"g": "24", "bf": "2"}},
    ),
    "mpeg4 mp4, B-frames": ("n.mp4", constant_times(120), {"codec": "mpeg4", "options": {"g": "24", "bf": "2"}}),
    "vp9 webm, variable rate": (
        "o.webm",
        variable_times(90, 3),
        {"codec": "libvpx-vp9", "options": {"g": "24", "deadline": "realtime"}},
    ),
    "mjpeg mkv": ("p.mkv", constant_times(60), {"codec": "mjpeg"}),
    "h264 mp4, audio first": (
        "q.mp4",
        [Fraction(1, 2) + time for time in constant_times(120)],
        {"options": {"g": "24"}, "audio_times": (0.0, 6.0)},
    ),
}  # fmt: skip


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="session", params=VIDEOS)
def video(request: pytest.FixtureRequest, video_folder: Path) -> tuple[Path, list[float]]:
    """A file of every kind and the times its frames are shown at, counted from the file's first sound or picture."""
    file, times, settings = VIDEOS[request.param]
    codec = settings.get("codec", "libx264")
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no encoder {codec}")
    path = video_folder / file
    if not path.exists():
        encode_video(path, times, **settings)
    origin = 0 if "audio_times" in settings else times[0]
    return path, [float(time - origin) for time in times]
