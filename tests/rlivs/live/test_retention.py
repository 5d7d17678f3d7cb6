"""Old captions deleted: numbering, moments, embeddings and the visual memory stay right."""

import numpy as np
import pytest

from rlivs.errors import InputError
from rlivs.memory.store import Caption, CaptionStore
from rlivs.streaming import service_events
from rlivs.streaming.service_events import Notices, Subscription


def fill(store, first, stop, stream="a"):
    for index in range(first, stop):
        store.append(
            Caption(stream, index, 10.0 * index, 10.0 * index + 10, f"caption {index}", 2, (index,)),
            embedding=np.full(4, index, np.float32),
            embedder_id="e",
            visual=b"%d" % index,
            keep_visual=3,
            scores=np.full(5, index, np.float32),
        )


@pytest.fixture
def store(tmp_path):
    with CaptionStore.open(tmp_path / "captions.db") as store:
        store.create_stream("a", source="", settings={})
        fill(store, 0, 10)
        yield store


def indices(store, ended_by=None):
    captions, embeddings = store.recall("a", ended_by)
    assert [caption.index for caption in captions] == embeddings[:, 0].tolist()
    return [caption.index for caption in captions]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"keep_last": 4}, [6, 7, 8, 9]),
        ({"ended_before": 75.0}, [7, 8, 9]),
        ({"keep_last": 8, "ended_before": 75.0}, [7, 8, 9]),
        ({"keep_last": 2, "ended_before": 75.0}, [8, 9]),
        ({"ended_before": 1e9}, [9]),
        ({"keep_last": 100}, list(range(10))),
    ],
)
def test_what_stays(store, options, kept):
    assert store.prune("a", **options) == 10 - len(kept)
    assert indices(store) == kept
    assert [store.scores("a", index) is not None for index in range(10)] == [index in kept for index in range(10)]


def test_a_pruned_stream_goes_on(store):
    before = store.embeddings("a")
    store.prune("a", keep_last=1)
    fill(store, 10, 14)
    assert indices(store) == [9, 10, 11, 12, 13]
    assert indices(store, ended_by=120.0) == [9, 10, 11]
    assert store.visual_slots("a") == [b"11", b"12", b"13"]
    assert before[:, 0].tolist() == list(range(10))  # what was handed out stays as it was
    store.prune("a", keep_last=2)
    fill(store, 14, 90)  # the matrix grows
    assert indices(store) == list(range(12, 90))


def test_the_visual_memory_of_pruned_clips_stays(store):
    store.prune("a", keep_last=1)
    assert store.visual_slots("a") == [b"7", b"8", b"9"]


def test_pruning_by_another_process_is_seen(store, tmp_path):
    assert len(indices(store)) == 10
    with CaptionStore.open(tmp_path / "captions.db") as other:
        other.prune("a", keep_last=3)
        fill(other, 10, 12)
    assert indices(store) == [7, 8, 9, 10, 11]


def test_serial_numbers_outlive_pruning(store):
    """An entry keeps its number whatever went before it, gaps included."""
    store.add_gap("a", 100.0, 110.0, "first")
    fill(store, 10, 12)
    store.add_gap("a", 120.0, 125.0, "second")
    store.add_gap("a", 125.0, 130.0, "third")
    fill(store, 12, 15)

    def log(after=-1):
        return {
            entry.serial: getattr(entry.item, "reason", None) or entry.item.index for entry in store.log("a", after)
        }

    whole = log()
    assert list(whole) == list(range(18))
    assert [whole[serial] for serial in (10, 11, 12, 13, 14, 15)] == ["first", 10, 11, "second", "third", 12]
    for after in range(-1, 18):
        assert log(after) == {serial: item for serial, item in whole.items() if serial > after}
    for keep in (14, 8, 5, 4, 3, 2, 1):
        store.prune("a", keep_last=keep)
        rest = log()
        assert rest.items() <= whole.items()
        assert [item for item in rest.values() if isinstance(item, int)] == list(range(15 - keep, 15))
        for after in range(-1, 18):
            assert log(after) == {serial: item for serial, item in rest.items() if serial > after}
            for limit in range(1, 20):
                assert store.log("a", after, limit) == store.log("a", after)[:limit]
    fill(store, 15, 16)
    assert log(17) == {18: 15}


def test_the_past_comes_in_pages_and_then_the_news(store, monkeypatch):
    """A follower of a long stream holds one page of it at a time."""
    monkeypatch.setattr(service_events, "PAGE", 3)
    store.add_gap("a", 100.0, 110.0, "gap")
    notices = Notices("a", store)
    following = Subscription(notices)
    notices.tell("status", {"clips": 10})
    told = []
    while (event := following.get()) is not None:
        told.append((event.serial, event.kind))
        assert len(following._waiting) < 3
        if len(told) == 4:
            fill(store, 10, 11)
            notices.committed()
    assert told == [*((serial, "caption") for serial in range(10)), (10, "gap"), (11, "caption"), (11, "status")]
    fill(store, 11, 12)
    notices.committed()
    assert following.get().data["index"] == 11 and following.get() is None


def test_a_question_reads_no_kept_tokens(make_engine, film, monkeypatch):
    engine = make_engine()
    session = engine.open("film")
    list(session.watch(film))
    expected = session.ask("What is red?")
    monkeypatch.setattr(engine.store, "captions", None)  # which reads them
    assert session.ask("What is red?", answer_from="auto") == expected


def test_a_deleted_stream_leaves_nothing(store):
    store.add_gap("a", 100.0, 110.0, "gap")
    store.set_epoch("a", 5.0)
    assert store.delete_stream("a") == 10
    assert store.streams() == []
    store.create_stream("a", source="", settings={})
    assert store.captions("a") == [] and store.gaps("a") == [] and store.epoch("a") is None
    assert store.visual_slots("a") == [] and store.last_end("a") == 0.0
    fill(store, 0, 2)
    assert indices(store) == [0, 1]


def test_what_cannot_be_kept_or_noted_is_refused(store):
    with pytest.raises(InputError, match="at least 1"):
        store.prune("a", keep_last=0)
    with pytest.raises(InputError, match="no stream"):
        store.prune("b", keep_last=1)
    with pytest.raises(InputError, match="end must follow"):
        store.add_gap("a", 2.0, 1.0, "backwards")


def test_room_is_given_back(store, tmp_path):
    store.append(
        Caption("a", 10, 100.0, 110.0, "x" * 10**6, 2, ()),
        embedding=np.zeros(4, np.float32),
        embedder_id="e",
        visual=None,
    )
    fill(store, 11, 12)
    store.compact()
    before = (tmp_path / "captions.db").stat().st_size
    store.prune("a", keep_last=1)
    store.compact()
    assert (tmp_path / "captions.db").stat().st_size < before - 900_000
    assert indices(store) == [11]
