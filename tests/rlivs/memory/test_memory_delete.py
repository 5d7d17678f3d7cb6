"""`rlivs memory delete`, run as a shell would run it."""

from __future__ import annotations

import sqlite3

import pytest
from command import runner

from rlivs.memory.store import CaptionStore


@pytest.fixture
def rlivs(monkeypatch, capsys):
    return runner(monkeypatch, capsys)


def test_a_stream_is_deleted(rlivs, memory):
    assert rlivs("memory", "delete", "--stream", "door", "--memory", memory, "--json").objects == [
        {"stream": "door", "deleted": 6}
    ]
    with CaptionStore.open(memory) as store:
        assert [info.stream for info in store.streams()] == ["yard"]
        assert len(store.captions("yard")) == 3
    deleted = rlivs("memory", "delete", "--stream", "yard", "--memory", memory)
    assert deleted.code == 0 and "'yard' with its 3 captions" in deleted.err


def test_its_room_is_given_back(rlivs, memory, add):
    with CaptionStore.open(memory) as store:
        add(store, "door", 500)
    before = memory.stat().st_size
    assert rlivs("memory", "delete", "--stream", "door", "--memory", memory).code == 0
    assert memory.stat().st_size < before / 2


def test_what_cannot_be_deleted_is_said_in_one_line(rlivs, memory, monkeypatch):
    gone = rlivs("memory", "delete", "--stream", "gate", "--memory", memory)
    assert gone.code == 2 and "no stream 'gate' (it has door, yard)" in gone.err and len(gone.err.splitlines()) == 1
    assert rlivs("memory", "delete", "--memory", memory).code == 2  # even where there is only one: never by chance
    monkeypatch.setattr("rlivs.memory.schema.BUSY_SECONDS", 0.05)
    other = sqlite3.connect(memory, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    busy = rlivs("memory", "delete", "--stream", "door", "--memory", memory)
    other.close()
    assert busy.code == 2 and "being written by another process" in busy.err and len(busy.err.splitlines()) == 1
    with CaptionStore.open(memory) as store:
        assert len(store.captions("door")) == 6
