"""What a question reads of a long stream: no kept tokens, and nothing twice."""

from __future__ import annotations

import dataclasses
import sqlite3

import numpy as np
import pytest

from rlivs.errors import InputError
from rlivs.memory import store as store_module
from rlivs.memory.store import CaptionStore


def without_kept_tokens(captions):
    return [dataclasses.replace(caption, selected=()) for caption in captions]


def test_a_question_reads_no_kept_tokens(memory, made):
    """Of a long stream they take gigabytes. What cannot be read shows that nobody tried."""
    connection = sqlite3.connect(memory)
    connection.execute("UPDATE captions SET selected = 'nothing'")
    connection.commit()
    connection.close()
    with CaptionStore.open(memory) as store:
        assert store.has_captions("door", 100.0)
        captions, embeddings = store.recall("door")
        assert captions == without_kept_tokens(made.caption("door", index) for index in range(6))
        assert len(embeddings) == 6
        with pytest.raises(InputError, match="is damaged"):
            store.captions("door")


def test_captions_are_read_once(memory, made, add, monkeypatch):
    with CaptionStore.open(memory) as store:
        add(store, "door", 100)
        before, _ = store.recall("door")
        counts, rows = [], store._rows
        monkeypatch.setattr(store, "_rows", lambda *query: counts.append(len(found := rows(*query))) or found)
        add(store, "door", 1)
        counts.clear()
        captions, embeddings = store.recall("door")
        assert sum(counts) < 10
        assert len(before) == 106  # what was handed out stays as it was
        assert captions == without_kept_tokens(made.caption("door", index) for index in range(107))
        np.testing.assert_array_equal(embeddings[-1], made.vector("door", 106))


@pytest.mark.parametrize("page", [1, 2, 3, 5, 6, 7])
def test_a_stream_read_in_pages_is_whole(memory, made, monkeypatch, page):
    monkeypatch.setattr(store_module, "PAGE", page)
    with CaptionStore.open(memory) as store:
        captions, embeddings = store.recall("door")
        assert captions == without_kept_tokens(made.caption("door", index) for index in range(6))
        np.testing.assert_array_equal(embeddings, np.stack([made.vector("door", index) for index in range(6)]))
        assert list(store.entries("door")) == store.log("door")


@pytest.mark.parametrize("moment", [None, -1.0, 31.9, 32.0, 100.0, float("inf")])
def test_whether_there_are_captions(memory, moment):
    with CaptionStore.open(memory) as store:
        assert store.has_captions("door", moment) == bool(store.captions("door", moment))
        store.create_stream("new", source="", settings={})
        assert not store.has_captions("new", moment)


def test_the_extent_of_a_stream(memory):
    with CaptionStore.open(memory) as store:
        assert store.extent("door") == (6, 0.0, 192.0)
        store.prune("door", keep_last=2)
        assert store.extent("door") == (2, 128.0, 192.0)
        store.create_stream("new", source="", settings={})
        assert store.extent("new") == (0, 0.0, 0.0)
