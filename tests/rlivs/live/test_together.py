"""Streams of a service captioned side by side."""

import logging
from collections import Counter

import numpy as np
import pytest
from live_following import wait_for_state

from rlivs.streaming import session
from rlivs.video.live import open_source

NAMES = ("a", "b", "c")


@pytest.fixture
def sizes(monkeypatch):
    """How many clips were captioned at once, each time that it was more than one."""
    counts, real = Counter(), session.caption_clips

    def counted(backbone, tap, ready, *rest):
        counts[len(ready)] += 1
        return real(backbone, tap, ready, *rest)

    monkeypatch.setattr(session, "caption_clips", counted)
    return counts


def watched(make_service, film, names=NAMES, **options):
    """The store after a service has captioned the film as several streams, and their last states."""
    service = make_service(**options)
    for name in names:
        service.create(name)
    for name in names:
        service.attach(name, open_source(film))
    return service, [wait_for_state(service, name, "ended") for name in names]


def told(store, name):
    return [(c.index, c.start, c.end, c.text, c.num_tokens, c.selected) for c in store.captions(name)]


def test_streams_at_once_remember_what_each_remembers_alone(make_service, film, sizes):
    service, _ = watched(make_service, film, names=NAMES[:1])
    expected = told(service._engine.store, "a")
    scores = [service._engine.store.scores("a", index) for index in range(9)]
    assert not sizes
    service, states = watched(make_service, film, captions_at_once=3)
    assert sum(size * times for size, times in sizes.items()) >= 18 and max(sizes) == 3
    assert [state.clips for state in states] == [9, 9, 9]
    for name in NAMES:
        assert told(service._engine.store, name) == expected
        for index in range(9):
            np.testing.assert_allclose(service._engine.store.scores(name, index), scores[index], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("place", ["ready_clip", "append"])
def test_a_clip_that_fails_is_lost_alone(make_service, film, sizes, monkeypatch, place):
    """Whether it cannot be encoded or not be stored."""
    service = make_service(captions_at_once=3)
    real, calls = session.ready_clip, Counter()

    def ready_clip(backbone, clip, memory, *rest):
        calls[clip.index] += 1
        if clip.index == 4 and calls[4] == 2:
            raise RuntimeError("no memory")
        return real(backbone, clip, memory, *rest)

    store = service._engine.store
    real_append = store.append

    def append(caption, **rest):
        if (caption.stream, caption.index) == ("b", 4) and not calls["b"]:
            calls["b"] += 1
            raise RuntimeError("no memory")
        return real_append(caption, **rest)

    if place == "append":
        monkeypatch.setattr(store, "append", append)
    else:
        monkeypatch.setattr(session, "ready_clip", ready_clip)
    for name in NAMES:
        service.create(name)
    for name in NAMES:
        service.attach(name, open_source(film))
    clips = [wait_for_state(service, name, "ended").clips for name in NAMES]
    assert sorted(clips) == [8, 9, 9] and sizes
    gaps = [gap for name in NAMES for gap in store.gaps(name)]
    assert len(gaps) == 1 and "no memory" in gaps[0].reason


def test_what_fails_at_once_is_captioned_one_by_one(make_service, film, monkeypatch, caplog):
    def broken(*arguments):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(session, "caption_clips", broken)
    with caplog.at_level(logging.WARNING):
        service, states = watched(make_service, film, captions_at_once=3)
    assert [state.clips for state in states] == [9, 9, 9]
    assert len({tuple(told(service._engine.store, name)) for name in NAMES}) == 1
    assert any("captioned one by one" in record.getMessage() for record in caplog.records)
