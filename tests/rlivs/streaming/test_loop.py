"""The loop: clip to caption to memory, again and again, and the same whichever way it is run."""

import threading

import numpy as np
import pytest
import torch

from rlivs.errors import InputError
from rlivs.video import iter_clips, open_video


def all_clips(engine, film, name="film"):
    return list(engine.open(name, source=str(film)).watch(film))


def assert_same(left, right):
    assert [(c.index, c.start, c.end, c.caption, c.selected) for c in left] == [
        (c.index, c.start, c.end, c.caption, c.selected) for c in right
    ]
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)
        assert torch.equal(one.tokens.embeddings, other.tokens.embeddings)


def test_a_film_becomes_clips_captions_and_kept_tokens(make_engine, film, config, backbone):
    engine = make_engine()
    clips = all_clips(engine, film)
    assert [(clip.start, clip.end) for clip in clips] == [(0, 4), (4, 8), (8, 11)]
    for clip, frames in zip(clips, (16, 16, 12), strict=True):
        columns = frames * backbone.tokens_per_frame
        assert clip.scores.shape == (columns,)
        assert len(clip.selected) == config.tokens_to_keep(columns)
        assert list(clip.selected) == sorted(set(clip.selected))
        # What is kept scores at least as much as anything that is not.
        rest = np.delete(clip.scores, clip.selected)
        assert clip.scores[list(clip.selected)].min() >= rest.max()
        assert 0 < clip.scores.sum() < 1


def test_the_same_clips_twice_give_the_same_bits(make_engine, film):
    first = all_clips(make_engine(), film)
    assert_same(first, all_clips(make_engine(), film))


def test_memory_changes_what_follows_and_only_that(make_engine, film):
    remembering = all_clips(make_engine(), film)
    forgetful = all_clips(make_engine(memory_slots=0), film)
    np.testing.assert_array_equal(remembering[0].scores, forgetful[0].scores)
    assert not np.array_equal(remembering[1].scores, forgetful[1].scores)


def test_the_oldest_slot_leaves_first(make_engine, film, monkeypatch):
    engine = make_engine(memory_slots=2)
    seen = []
    original = engine.backbone.caption_prompt

    def spy(clip, memory, text):
        seen.append([slot.clip_index for slot in memory])
        prompt = original(clip, memory, text)
        assert torch.equal(prompt.inputs_embeds[0, prompt.columns], clip.embeddings)
        return prompt

    monkeypatch.setattr(engine.backbone, "caption_prompt", spy)
    session = engine.open("film")
    clip = next(iter(iter_clips(film, fps=4)))
    for index in range(4):
        session.process(type(clip)(index, clip.frames, clip.times, clip.start + 4 * index, clip.end + 4 * index))
    assert seen == [[], [0], [0, 1], [1, 2]]


def test_pushed_frames_give_the_clips_of_the_file(make_engine, film):
    watched = all_clips(make_engine(), film)
    session = make_engine().open("pushed")
    pushed = []
    with open_video(film) as video:
        for frame in video.frames():
            pushed += session.push(frame.image, frame.time)
    pushed.append(session.flush())
    # A file says how long its last frame is shown; pushed frames do not, and nothing else differs.
    assert_same(watched[:2], pushed[:2])
    assert pushed[2].caption == watched[2].caption
    assert session.flush() is None


def test_pushing_backwards_is_refused(make_engine):
    session = make_engine().open("live")
    image = np.zeros((64, 64, 3), np.uint8)
    session.push(image, 1.0)
    with pytest.raises(InputError, match="in order"):
        session.push(image, 0.5)


def test_a_stream_resumed_after_each_clip_equals_one_run_through(make_engine, film, tmp_path):
    whole = make_engine(tmp_path / "whole.db")
    undisturbed = all_clips(whole, film)
    expected = whole.store.captions("film")
    resumed = []
    for _ in undisturbed:
        session = make_engine(tmp_path / "parts.db").open("film", source=str(film), resume=True)
        resumed.append(next(session.watch(film)))
    assert_same(undisturbed, resumed)
    engine = make_engine(tmp_path / "parts.db")
    assert engine.store.captions("film") == expected
    assert list(engine.open("film", source=str(film), resume=True).watch(film)) == []


def test_a_stream_is_not_begun_twice_nor_continued_otherwise(make_engine, film, tmp_path):
    memory = tmp_path / "captions.db"
    make_engine(memory).open("film", source=str(film))
    with pytest.raises(InputError, match="already"):
        make_engine(memory).open("film", source=str(film))
    with pytest.raises(InputError, match="was made from"):
        make_engine(memory).open("film", source="/elsewhere.mp4", resume=True)
    with pytest.raises(InputError, match="keep_fraction"):
        make_engine(memory, keep_fraction=0.25).open("film", source=str(film), resume=True)


def test_clips_come_in_order(make_engine, film):
    session = make_engine().open("film")
    second = list(iter_clips(film, fps=4))[1]
    with pytest.raises(InputError, match="expects clip 0"):
        session.process(second)


def test_keeping_more_tokens_than_a_clip_has(make_engine, backbone):
    columns = 16 * backbone.tokens_per_frame
    make_engine(keep_tokens=columns)
    with pytest.raises(InputError, match="keep at most"):
        make_engine(keep_tokens=columns + 1)


def test_a_prompt_beyond_the_model_is_refused(make_engine, backbone):
    frames = np.zeros((1, 64, 64, 3), np.uint8)
    engine = make_engine(frames_per_clip=1)
    backbone_limit = backbone.max_positions
    try:
        backbone.max_positions = 8
        with pytest.raises(InputError, match="lower frames_per_clip"):
            session = engine.open("long")
            for time in range(3):
                session.push(frames[0], float(time))
    finally:
        backbone.max_positions = backbone_limit


def test_threads_take_turns_at_the_model(make_engine, film):
    """Two streams, and questions that come in the middle of a layer."""
    alone = all_clips(make_engine(), film)
    engine = make_engine()
    sessions = [engine.open("left"), engine.open("right")]
    clips, answers, asking = {}, [], []

    def ask(*call):
        if len(asking) < 8 and sessions[0].captions:
            asking.append(threading.Thread(target=lambda: answers.append(sessions[0].ask("What happened?"))))
            asking[-1].start()

    layer = engine.backbone.model.get_decoder().layers[engine._tap.layers[0]]
    hook = layer.self_attn.q_proj.register_forward_hook(ask)
    try:
        watching = [
            threading.Thread(target=lambda session=session: clips.update({session.name: list(session.watch(film))}))
            for session in sessions
        ]
        for thread in watching:
            thread.start()
        for thread in watching:
            thread.join()
    finally:
        hook.remove()
    for thread in asking:
        thread.join()
    assert_same(alone, clips["left"])
    assert_same(alone, clips["right"])
    assert len(answers) == 8
