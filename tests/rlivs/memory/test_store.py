"""What is put into the store comes out of it, by stream, in order, up to a moment."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlivs.errors import InputError
from rlivs.memory.store import Caption, CaptionStore, StreamInfo


@pytest.mark.parametrize("reopened", [False, True])
def test_everything_comes_back(memory, made, add, reopened):
    store = CaptionStore.open(memory)
    if not reopened:
        add(store, "door", 1)
    count = 6 if reopened else 7
    assert store.captions("door") == [made.caption("door", index) for index in range(count)]
    assert store.last_index("door") == count - 1
    expected = np.stack([made.vector("door", index) for index in range(count)])
    embeddings = store.embeddings("door")
    assert embeddings.dtype == np.float32
    np.testing.assert_array_equal(embeddings, expected)
    assert store.visual_slots("door") == [made.visual("door", index) for index in range(count - 4, count)]
    for index in range(count):
        np.testing.assert_array_equal(store.scores("door", index), made.scores(index))
    assert store.captions("yard") == [made.caption("yard", index) for index in range(3)]
    assert store.streams() == [
        StreamInfo(name, f"/videos/{name}.mp4", {"fps": 0.5, "grid": [14, 14]}, "test", 8) for name in ("door", "yard")
    ]
    store.close()


def test_a_store_in_ram(made, add):
    with CaptionStore.open(":memory:") as store:
        assert store.streams() == []
        store.create_stream("a", source="", settings={})
        assert store.stream("a") == StreamInfo("a", "", {}, None, None)
        assert (store.last_index("a"), store.captions("a"), store.visual_slots("a")) == (-1, [], [])
        assert len(store.embeddings("a")) == 0
        add(store, "a", 2)
        assert store.stream("a").embedder_id == "test"
        assert len(store.embeddings("a")) == 2


def test_no_scores_and_no_visual_slots(made):
    with CaptionStore.open(":memory:") as store:
        store.create_stream("a", source="", settings={})
        for index in range(3):
            store.append(made.caption("a", index), embedding=np.ones(3), embedder_id="e", visual=None, keep_visual=0)
        assert store.scores("a", 1) is None
        assert store.scores("a", 99) is None
        assert store.visual_slots("a") == []


@settings(max_examples=40)
@given(st.lists(st.booleans(), max_size=12), st.integers(0, 5))
def test_the_newest_visual_slots_are_kept(has_visual, keep):
    with CaptionStore.open(":memory:") as store:
        store.create_stream("a", source="", settings={})
        for index, has in enumerate(has_visual):
            store.append(
                Caption("a", index, index, index + 1, "", 0, ()),
                embedding=np.ones(1),
                embedder_id="e",
                visual=str(index).encode() if has else None,
                keep_visual=keep,
            )
        pushed = [str(index).encode() for index, has in enumerate(has_visual) if has]
        assert store.visual_slots("a") == (pushed[-keep:] if keep else [])


ends = st.lists(st.integers(0, 40), min_size=0, max_size=20)


@settings(max_examples=40)
@given(ends, st.booleans(), st.lists(st.floats(-1, 45), min_size=1, max_size=4))
def test_a_question_never_sees_a_later_caption(ends, in_order, moments):
    """Captions and embeddings as of a moment: those that ended by then, row by row the same, while more come."""
    ends = sorted(ends) if in_order else ends
    with CaptionStore.open(":memory:") as store:
        store.create_stream("a", source="", settings={})
        for index, end in enumerate(ends):
            store.append(
                Caption("a", index, 0.0, end, f"{index}", 1, ()),
                embedding=np.array([index, end], np.float32),
                embedder_id="e",
                visual=None,
            )
            for moment in [*moments, None]:
                seen = [i for i, each in enumerate(ends[: index + 1]) if moment is None or each <= moment]
                assert [caption.index for caption in store.captions("a", ended_by=moment)] == seen
                assert store.embeddings("a", ended_by=moment)[:, 0].tolist() == seen
                captions, embeddings = store.recall("a", ended_by=moment)
                assert [caption.index for caption in captions] == embeddings[:, 0].tolist() == seen


def test_embeddings_are_read_only_and_keep_their_values(memory, add):
    with CaptionStore.open(memory) as store:
        before = store.embeddings("door")
        copy = before.copy()
        with pytest.raises(ValueError, match="read-only"):
            before[0, 0] = 1
        add(store, "door", 200)
        np.testing.assert_array_equal(before, copy)
        np.testing.assert_array_equal(store.embeddings("door")[:6], copy)


def test_unknown_streams_are_answered_with_the_known(memory, made):
    with CaptionStore.open(memory) as store:
        calls = [
            lambda: store.stream("dor"),
            lambda: store.last_index("dor"),
            lambda: store.captions("dor"),
            lambda: store.embeddings("dor"),
            lambda: store.recall("dor"),
            lambda: store.visual_slots("dor"),
            lambda: store.scores("dor", 0),
            lambda: store.append(made.caption("dor", 0), embedding=np.ones(8), embedder_id="test", visual=None),
        ]
        for call in calls:
            with pytest.raises(InputError, match=r"no stream 'dor' \(it has door, yard\)"):
                call()
    with (
        CaptionStore.open(":memory:") as empty,
        pytest.raises(InputError, match=r"no stream 'door' \(it has none yet\)"),
    ):
        empty.captions("door")


WRONG = {
    "a clip left out": ({"index": 7}, {}, "expects clip 6, not clip 7"),
    "a clip again": ({"index": 5}, {}, "expects clip 6, not clip 5"),
    "another embedder": ({}, {"embedder_id": "other"}, r"embeddings of test \(8 numbers\), not of other \(8\)"),
    "another size": ({}, {"embedding": np.ones(9)}, r"not of test \(9\)"),
    "not a number": ({}, {"embedding": np.full(8, np.nan)}, "finite"),
    "a matrix": ({}, {"embedding": np.ones((2, 4))}, "finite numbers"),
    "a time before its start": ({"end": 0.0}, {}, "end must follow start"),
    "no time": ({"end": float("nan")}, {}, "end must follow start"),
    "negative slots": ({}, {"keep_visual": -1}, "give 0 or more"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_refused_and_changes_nothing(memory, made, wrong):
    changes, arguments, message = WRONG[wrong]
    before = memory.read_bytes()
    with CaptionStore.open(memory) as store:
        caption = dataclasses.replace(made.caption("door", 6), **changes)
        with pytest.raises(InputError, match=message) as caught:
            store.append(caption, **{"embedding": np.ones(8), "embedder_id": "test", "visual": b"x", **arguments})
        assert "\n" not in str(caught.value)
        assert store.last_index("door") == 5
        assert len(store.embeddings("door")) == 6
    assert memory.read_bytes() == before


def test_a_stream_again_or_without_a_name(memory):
    before = memory.read_bytes()
    with CaptionStore.open(memory) as store:
        with pytest.raises(InputError, match="already has a stream 'door'; resume it"):
            store.create_stream("door", source="", settings={})
        with pytest.raises(InputError, match="cannot be empty"):
            store.create_stream(" ", source="", settings={})
        with pytest.raises(TypeError):
            store.create_stream("new", source="", settings={"path": object()})
    assert memory.read_bytes() == before


def test_an_interrupted_transaction_leaves_nothing(memory, made, monkeypatch):
    """Ctrl-C between two of a clip's rows."""
    before = memory.read_bytes()
    with CaptionStore.open(memory) as store:
        monkeypatch.setattr("rlivs.memory.store._packed", lambda values, dtype: interrupt() if dtype == "<f4" else b"")

        def interrupt():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store.append(made.caption("door", 6), embedding=np.ones(8), embedder_id="test", visual=b"x")
        monkeypatch.undo()
        assert store.captions("door") == [made.caption("door", index) for index in range(6)]
    assert memory.read_bytes() == before


def test_a_full_disk(memory, made):
    with CaptionStore.open(memory) as store:
        store._connection.execute("PRAGMA max_page_count = 1")  # no page more than there are
        with pytest.raises(InputError, match="free some space"):
            store.append(made.caption("door", 6), embedding=np.ones(8), embedder_id="test", visual=bytes(100_000))
        assert store.last_index("door") == 5
    with CaptionStore.open(memory) as store:
        assert store.captions("door") == [made.caption("door", index) for index in range(6)]


def test_one_store_in_several_threads(tmp_path, made, add):
    with CaptionStore.open(tmp_path / "captions.db") as store:
        failures = []

        def write(stream: str) -> None:
            try:
                store.create_stream(stream, source="", settings={})
                for _ in range(25):
                    add(store, stream, 1)
                    captions, embeddings = store.recall("0") if store.last_index(stream) >= 0 else ([], [])
                    assert len(captions) == len(embeddings)
            except BaseException as error:
                failures.append(error)

        store.create_stream("other", source="", settings={})
        writers = [threading.Thread(target=write, args=(str(number),)) for number in range(4)]
        writers[0].start()
        while "0" not in [info.stream for info in store.streams()]:
            assert not failures
        for writer in writers[1:]:
            writer.start()
        for writer in writers:
            writer.join()
        assert failures == []
        for number in range(4):
            assert store.captions(str(number)) == [made.caption(str(number), index) for index in range(25)]


def test_a_closed_store_says_so(memory):
    store = CaptionStore.open(memory)
    store.close()
    store.close()
    with pytest.raises(ValueError, match="closed"):
        store.streams()
