"""Where a clip's visual tokens lie: kept with each clip, and told again, for any shape of frame and length of clip."""

import json
import sqlite3

import av
import numpy as np
import pytest
from tiny_models import load_tiny_backbone

from rlivs.backbones import qwen2_vl
from rlivs.config import PipelineConfig
from rlivs.errors import InputError
from rlivs.memory.store import CaptionStore
from rlivs.reports import heatmap_image
from rlivs.streaming import StreamingVideoQA
from rlivs.streaming.retelling import tell, tell_clips

FRAMES = 4


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patcher:
        patcher.setattr(qwen2_vl, "TOKENS_PER_FRAME", 12)
        yield load_tiny_backbone(tmp_path_factory.mktemp("qwen"), "qwen2_5_vl")


def make_film(path, width, height, frames):
    """One frame a second, each of its own grey."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            image = np.full((height, width, 3), 20 + 20 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def captioned(backbone, film, memory):
    config = PipelineConfig(fps=1, frames_per_clip=FRAMES, max_caption_tokens=3, memory_slots=1)
    with StreamingVideoQA(backbone, CaptionStore.open(memory), config) as engine:
        return list(engine.open("film", source=str(film)).watch(film))


@pytest.mark.parametrize("width, height", [(36, 64), (64, 36), (48, 48)], ids=["portrait", "landscape", "square"])
@pytest.mark.parametrize("last", [1, 3])
def test_every_shape_and_length_is_told_again(qwen, tmp_path, width, height, last):
    film = make_film(tmp_path / "film.mp4", width, height, FRAMES + last)
    clips = captioned(qwen, film, tmp_path / "memory.db")
    rows, columns = clips[0].grid
    assert (rows > columns) == (height > width) or height == width
    assert [clip.steps for clip in clips] == [2, -(-last // 2)]
    with CaptionStore.open(tmp_path / "memory.db") as store:
        told = list(tell_clips(store, "film"))
        assert len(tell(store, "film", title="Film").clips) == 2
    for clip, again in zip(clips, told, strict=True):
        assert again.grid == clip.grid
        assert len(again.frames) == clip.steps
        np.testing.assert_array_equal(again.scores, clip.scores)
        heatmap_image(again.frames, again.scores, again.selected, again.grid, times=again.times, title="")
    # the last frame of each pair, and the one that is left
    assert told[0].times == (1, 3)
    assert told[1].times == {1: (4,), 3: (5, 6)}[last]


def forget_grids(memory, settings_grid):
    """The memory as it was made before clips had grids of their own."""
    connection = sqlite3.connect(memory)
    connection.execute("DROP TABLE grids")
    settings = json.loads(connection.execute("SELECT settings FROM streams").fetchone()[0])
    if settings_grid is not None:
        settings["grid"] = settings_grid
    connection.execute("UPDATE streams SET settings = ?", (json.dumps(settings),))
    connection.commit()
    connection.close()


def test_a_memory_without_grids_is_read_and_continued(qwen, backbone, tmp_path):
    for model in (qwen, backbone):
        memory = tmp_path / f"{model.name}.db"
        film = make_film(tmp_path / "film.mp4", 64, 36, 2 * FRAMES)
        clips = captioned(model, film, memory)
        forget_grids(memory, list(clips[0].grid))
        with CaptionStore.open(memory) as store:
            told = list(tell_clips(store, "film"))
            assert [clip.grid for clip in told] == [clip.grid for clip in clips]
            assert [len(clip.frames) for clip in told] == [clip.steps for clip in clips]
            assert store.grid("film", 0) is None
            store.prune("film", keep_last=1)
        film = make_film(tmp_path / "film.mp4", 64, 36, 3 * FRAMES)
        config = PipelineConfig(fps=1, frames_per_clip=FRAMES, max_caption_tokens=3, memory_slots=1)
        with StreamingVideoQA(model, CaptionStore.open(memory), config) as engine:
            [clip] = engine.open("film", source=str(film), resume=True).watch(film)
            assert engine.store.grid("film", 2) == (clip.steps, *clip.grid)
            engine.store.delete_stream("film")


def test_a_memory_that_says_nothing_of_grids(qwen, tmp_path):
    film = make_film(tmp_path / "film.mp4", 64, 36, FRAMES)
    captioned(qwen, film, tmp_path / "memory.db")
    forget_grids(tmp_path / "memory.db", None)
    with CaptionStore.open(tmp_path / "memory.db") as store, pytest.raises(InputError, match="how the tokens"):
        list(tell_clips(store, "film"))
