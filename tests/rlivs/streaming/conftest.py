"""A short film, and the shipped model loaded once."""

from pathlib import Path

import av
import numpy as np
import pytest

from rlivs.backbones import load_backbone
from rlivs.config import PipelineConfig
from rlivs.memory.store import CaptionStore
from rlivs.streaming import StreamingVideoQA

DEMO = Path(__file__).resolve().parents[3] / "python" / "rlivs" / "assets" / "demo" / "demo.mp4"
COLOURS = [(200, 30, 30), (30, 60, 200), (30, 160, 60), (220, 200, 40)]


@pytest.fixture(scope="session")
def backbone():
    return load_backbone("tiny-onevision", device="cpu")


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    """11 s of moving squares at 8 frames a second: at 4 frames a second two full clips of 16 and one of 12."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 96
        stream.pix_fmt = "yuv420p"
        for index in range(88):
            image = np.full((96, 96, 3), 120, np.uint8)
            left = 4 + index % 60
            image[30:54, left : left + 24] = COLOURS[index // 22]
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.fixture
def config():
    return PipelineConfig(fps=4, max_caption_tokens=24, max_answer_tokens=24, memory_slots=2)


@pytest.fixture
def make_engine(backbone, config):
    """Engines on the one loaded model; each is closed at the end so that the model is handed on untapped."""
    engines = []

    def make(memory=":memory:", **options):
        for engine in engines:
            engine.close()
        engines[:] = [StreamingVideoQA(backbone, CaptionStore.open(memory), config.model_copy(update=options))]
        return engines[0]

    yield make
    for engine in engines:
        engine.close()
