"""The command line run in this process, as a shell would run it."""

import sys
from dataclasses import dataclass

import av
import numpy as np
import pytest

from rlivs import cli


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def rlivs(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["rlivs", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


def write_film(path, seconds=9, fps=4, side=96):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for index in range(seconds * fps):
            image = np.full((side, side, 3), 110, np.uint8)
            left = (3 * index) % (side - 28)
            image[36:60, left : left + 24] = (210, 40, 40)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    """9 s: at 4 frames a second two full clips and one of 4 frames."""
    return write_film(tmp_path_factory.mktemp("film") / "film.mp4")


@pytest.fixture(scope="session")
def captioned(film, tmp_path_factory):
    """A caption memory of the film, made once."""
    from rlivs.config import PipelineConfig
    from rlivs.streaming import StreamingVideoQA

    memory = tmp_path_factory.mktemp("memory") / "captions.db"
    config = PipelineConfig(fps=4, max_caption_tokens=24)
    with StreamingVideoQA.from_pretrained("tiny-onevision", memory=memory, config=config, device="cpu") as engine:
        list(engine.open("film", source=str(film)).watch(film))
    return memory
