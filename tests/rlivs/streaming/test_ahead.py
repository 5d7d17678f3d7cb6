"""The next clip is made while one is captioned, in order, with the same bits, and nothing is left running."""

import threading

import pytest
import torch

from rlivs.backbones import load_backbone
from rlivs.config import PipelineConfig
from rlivs.errors import InputError
from rlivs.memory.store import CaptionStore
from rlivs.streaming import StreamingVideoQA, ahead, session
from rlivs.video import iter_clips

PATIENCE = 30.0  # seconds until a thread that should have moved is given up


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("rlivs-ahead")]


def test_the_next_clip_is_decoded_while_one_is_captioned(make_engine, film, monkeypatch):
    asked = [threading.Event() for _ in range(4)]

    def clips():
        for index, clip in enumerate(iter_clips(film, fps=4)):
            asked[index].set()
            yield clip
        asked[3].set()

    real, during = session.caption_ready, []

    def spy(backbone, tap, ready, *rest):
        assert asked[ready.clip.index + 1].wait(PATIENCE)
        during.append(ready.clip.index)
        return real(backbone, tap, ready, *rest)

    monkeypatch.setattr(session, "caption_ready", spy)
    engine = make_engine()
    assert len(list(engine.open("film").caption_clips(clips()))) == 3
    assert during == [0, 1, 2]
    assert not threads()


def test_no_more_than_one_clip_is_made_ahead(backbone):
    made = []

    def clips():
        for index in range(20):
            made.append(index)
            yield index

    taken = ahead.clips_ahead(clips(), backbone)
    for index in range(5):
        assert next(taken) == (index, None)
        assert len(made) <= index + 2
    taken.close()
    assert len(made) <= 6 and not threads()


def test_what_goes_wrong_comes_in_its_place(backbone):
    def clips():
        yield from range(2)
        raise InputError("the film is cut off")

    taken = ahead.clips_ahead(clips(), backbone)
    assert [next(taken)[0], next(taken)[0]] == [0, 1]
    with pytest.raises(InputError, match="cut off"):
        next(taken)
    assert not threads()


def test_a_reader_that_leaves_early_ends_the_thread_and_the_film(make_engine, film):
    ended = threading.Event()

    def clips():
        try:
            yield from iter_clips(film, fps=4)
        finally:
            ended.set()

    captioned = make_engine().open("film").caption_clips(clips())
    next(captioned)
    captioned.close()
    assert ended.is_set() and not threads()


def assert_same_bits(left, right):
    assert [clip.caption for clip in left] == [clip.caption for clip in right]
    for one, other in zip(left, right, strict=True):
        assert one.selected == other.selected and (one.scores == other.scores).all()
        assert torch.equal(one.tokens.embeddings, other.tokens.embeddings)


def test_clips_encoded_ahead_on_a_gpu_have_the_same_bits(film, gpu, monkeypatch):
    on_gpu = load_backbone("tiny-onevision", device="cuda")
    config = PipelineConfig(fps=4, max_caption_tokens=24, memory_slots=2)
    real, encoded = on_gpu.encode, []

    def spy(frames, times=None):
        encoded.append(threading.current_thread().name.startswith("rlivs-ahead"))
        return real(frames, times)

    monkeypatch.setattr(on_gpu, "encode", spy)
    turns = 20 if gpu is None else 2
    with StreamingVideoQA(on_gpu, CaptionStore.open(":memory:"), config) as engine:
        one_by_one = engine.open("one by one")
        expected = [one_by_one.process(clip) for clip in iter_clips(film, fps=4)]
        for turn in range(turns):
            assert_same_bits(expected, list(engine.open(f"ahead {turn}").watch(film)))
        left_early = engine.open("left early").watch(film)
        next(left_early)
        left_early.close()
    assert encoded[:-2] == [False] * 3 + [True] * 3 * turns and not threads()
