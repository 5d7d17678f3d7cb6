"""The command line run in this process, as a shell would run it."""

import pytest
from command import runner
from films import write_film


@pytest.fixture
def rlivs(monkeypatch, capsys):
    return runner(monkeypatch, capsys)


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
