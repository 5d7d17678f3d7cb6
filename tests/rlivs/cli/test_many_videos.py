"""`rlivs caption` of several videos: a stream each, one after the other or side by side."""

import shutil

import pytest
from films import write_film

from rlivs.errors import InputError
from rlivs.memory.store import CaptionStore
from rlivs.streaming import session

FAST = ("--fps", "4", "--set", "max_caption_tokens=24")
TOGETHER = ("--set", "captions_at_once=2")
NAMES = ("front", "back", "side")


@pytest.fixture(scope="module")
def films(film, tmp_path_factory):
    """Of 9, 5 and 9 s: three clips, two and three."""
    folder = tmp_path_factory.mktemp("films")
    shutil.copy(film, folder / "front.mp4")
    write_film(folder / "back.mp4", seconds=5)
    shutil.copy(film, folder / "side.mp4")
    return [folder / f"{name}.mp4" for name in NAMES]


def told(memory):
    with CaptionStore.open(memory) as store:
        return {
            name: [(c.index, c.start, c.end, c.text, c.selected) for c in store.captions(name)]
            for name in sorted(info.stream for info in store.streams())
        }


@pytest.fixture(scope="module")
def alone(films, tmp_path_factory):
    """What each leaves when it is captioned by itself."""
    from rlivs.config import PipelineConfig
    from rlivs.streaming import StreamingVideoQA

    memory = tmp_path_factory.mktemp("alone") / "captions.db"
    config = PipelineConfig(fps=4, max_caption_tokens=24)
    with StreamingVideoQA.from_pretrained("tiny-onevision", memory=memory, config=config, device="cpu") as engine:
        for video in films:
            list(engine.open(video.stem).watch(video))
    return told(memory)


@pytest.mark.parametrize("more", [(), TOGETHER], ids=["one by one", "two at once"])
def test_each_is_a_stream_and_remembers_what_it_remembers_alone(rlivs, films, alone, tmp_path, more):
    memory = tmp_path / "captions.db"
    outcome = rlivs("caption", *films, "--memory", memory, *FAST, *more)
    assert outcome.code == 0 and "8 clips of 3 streams" in outcome.err
    order = [line.split()[0] for line in outcome.out.splitlines()]
    expected = ["front"] * 3 + ["back"] * 2 + ["side"] * 3
    if more:
        expected = ["front", "back", "front", "back", "front", "side", "side", "side"]
    assert order == expected
    assert told(memory) == alone


def test_a_video_that_breaks_off_does_not_stop_the_others(rlivs, films, alone, tmp_path, monkeypatch):
    real = session.Session.unseen_clips

    def breaks_off(self, path):
        clips = real(self, path)
        if self.name != "back":
            yield from clips
            return
        yield next(clips)
        clips.close()
        raise InputError("back.mp4 breaks off at 0:04; get the file again")

    monkeypatch.setattr(session.Session, "unseen_clips", breaks_off)
    memory = tmp_path / "captions.db"
    outcome = rlivs("caption", *films, "--memory", memory, *FAST, *TOGETHER)
    assert outcome.code == 2
    last = outcome.err.splitlines()[-1]
    assert "back: back.mp4 breaks off at 0:04" in outcome.err and "Traceback" not in outcome.err
    assert last == "rlivs: error: 1 of 3 videos were not captioned to their ends: back"
    assert told(memory) == alone | {"back": alone["back"][:1]}
    monkeypatch.undo()
    again = rlivs("caption", *films, "--memory", memory, "--resume", *FAST)
    assert again.code == 0 and [line.split()[0] for line in again.out.splitlines()] == ["back"]
    assert told(memory) == alone


def test_a_clip_that_cannot_be_captioned_ends_its_video_alone(rlivs, films, alone, tmp_path, monkeypatch):
    real = session.Session._remember

    def full(self, result):
        if (self.name, result.index) == ("front", 1):
            raise InputError("the disk is full")
        real(self, result)

    monkeypatch.setattr(session.Session, "_remember", full)
    memory = tmp_path / "captions.db"
    outcome = rlivs("caption", *films, "--memory", memory, *FAST, *TOGETHER)
    assert outcome.code == 2 and "front: the disk is full" in outcome.err
    assert told(memory) == alone | {"front": alone["front"][:1]}


def test_what_is_for_one_video_is_refused_for_several(rlivs, films, film, tmp_path):
    memory = tmp_path / "captions.db"
    shutil.copy(film, tmp_path / "front.mp4")
    for arguments, words in [
        ((*films, "--stream", "x"), "leave it out for several"),
        ((*films, "--report", tmp_path / "r.html"), "caption each by itself"),
        ((*films, "--starts-at", "2031-05-04 14:05"), "caption each by itself"),
        ((films[0], tmp_path / "front.mp4"), "would both be stream 'front'"),
        ((films[0], tmp_path / "none.mp4"), "none.mp4"),
    ]:
        outcome = rlivs("caption", *arguments, "--memory", memory, *FAST)
        assert outcome.code == 2 and words in outcome.err and len(outcome.err.splitlines()) == 1
    assert not memory.exists()
    assert rlivs("caption", films[1], "--memory", memory, *FAST).code == 0
    refused = rlivs("caption", *films, "--memory", memory, *FAST)
    assert refused.code == 2 and "already has a stream 'back'" in refused.err
    assert list(told(memory)) == ["back"]
