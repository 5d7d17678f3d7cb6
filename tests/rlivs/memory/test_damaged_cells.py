"""Cells that hold something else than was written: one line that says where, and what to do."""

from __future__ import annotations

import sqlite3

import pytest

from rlivs.errors import InputError
from rlivs.memory.store import CaptionStore
from rlivs.memory.visual import VisualMemory

DAMAGE = [
    ("captions", "selected", "text"),
    ("captions", "selected", b"junk!"),
    ("captions", "selected", b"junk"),
    ("captions", "selected", b"\xff" * 16),
    ("captions", "text", b"bytes"),
    ("captions", "num_tokens", "many"),
    ("captions", "end_time", "late"),
    ("embeddings", "vector", "text"),
    ("embeddings", "vector", b"junk!"),
    ("embeddings", "vector", b"junk"),
    ("scores", "vector", "text"),
    ("scores", "vector", b"junk!"),
    ("streams", "settings", "text"),
    ("streams", "settings", b"\xff\xfe"),
    ("streams", "settings", "[1]"),
    ("streams", "dim", "wide"),
]


@pytest.mark.parametrize(("table", "column", "value"), DAMAGE)
def test_a_damaged_cell_is_told_in_one_line(memory, table, column, value):
    connection = sqlite3.connect(memory)
    connection.execute(
        f"UPDATE {table} SET {column} = ? WHERE {'id' if table == 'streams' else 'stream_id'} = 1", (value,)
    )
    connection.commit()
    connection.close()
    with pytest.raises(InputError) as caught, CaptionStore.open(memory) as store:
        for read in (store.captions, store.recall, store.log, lambda stream: store.scores(stream, 2)):
            read("door")
    message = str(caught.value)
    assert message.startswith(f"{memory} is damaged in stream 'door' (")
    assert message.endswith("; restore a copy of it") and "\n" not in message


def test_a_damaged_stream_leaves_the_others_readable(memory):
    connection = sqlite3.connect(memory)
    connection.execute("UPDATE captions SET selected = 'text' WHERE stream_id = 1")
    connection.commit()
    connection.close()
    with CaptionStore.open(memory) as store:
        assert len(store.captions("yard")) == 3


@pytest.mark.parametrize("tokens", ["text", b"junk"])
def test_a_damaged_slot_of_the_visual_memory(tokens):
    with pytest.raises(InputError, match="is damaged"):
        VisualMemory.from_bytes(tokens)
