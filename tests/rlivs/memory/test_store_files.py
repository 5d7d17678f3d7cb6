"""Files that are no caption memory, places that cannot hold one: refused in one line, and left as they were."""

from __future__ import annotations

import os
import sqlite3

import pytest

from rlivs.errors import InputError
from rlivs.memory.store import CaptionStore


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def refused(path, *, create: bool) -> str:
    """The message `path` is refused with; nothing in its folder has changed."""
    before = contents(path.parent) if path.parent.is_dir() else None
    with pytest.raises(InputError) as caught:
        CaptionStore.open(path, create=create)
    message = str(caught.value)
    assert "\n" not in message
    if before is not None:
        assert contents(path.parent) == before
    return message


def other_database(path, *, wal: bool = False) -> None:
    connection = sqlite3.connect(path)
    if wal:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE notes (text)")
    connection.execute("INSERT INTO notes VALUES ('mine')")
    connection.commit()
    connection.close()


both = pytest.mark.parametrize("create", [False, True])


@both
def test_a_directory(tmp_path, create):
    (tmp_path / "captions.db").mkdir()
    assert "is a directory" in refused(tmp_path / "captions.db", create=create)


@both
def test_no_such_directory(tmp_path, create):
    assert "mkdir -p" in refused(tmp_path / "none" / "captions.db", create=create)


@both
def test_a_directory_that_may_not_be_written_to(memory, monkeypatch, create):
    # Faked, because root, who may run this, can write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: os.fspath(path) != str(memory.parent))
    assert "in another directory" in refused(memory, create=create)


@both
def test_a_file_that_may_not_be_written(memory, monkeypatch, create):
    monkeypatch.setattr(os, "access", lambda path, mode: os.fspath(path) != str(memory))
    assert "chmod u+rw" in refused(memory, create=create)


def test_a_missing_or_empty_file_without_create(tmp_path):
    assert "caption a video first" in refused(tmp_path / "captions.db", create=False)
    (tmp_path / "captions.db").touch()
    assert "caption a video first" in refused(tmp_path / "captions.db", create=False)


@both
@pytest.mark.parametrize("content", [b"x", b"Dear diary,\n" * 1000, b"SQLite format 3\0", bytes(5000)])
def test_no_database(tmp_path, create, content):
    path = tmp_path / "captions.db"
    path.write_bytes(content)
    assert "not a caption memory" in refused(path, create=create)


@both
@pytest.mark.parametrize("wal", [False, True])
def test_a_database_of_another_program(tmp_path, create, wal):
    path = tmp_path / "captions.db"
    other_database(path, wal=wal)
    assert "another program" in refused(path, create=create)
    assert sqlite3.connect(path).execute("SELECT text FROM notes").fetchall() == [("mine",)]


@both
def test_another_version(memory, create):
    connection = sqlite3.connect(memory)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    message = refused(memory, create=create)
    assert "format 2" in message and "reads format 1" in message


@both
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_a_memory_that_is_cut_off(memory, create, share):
    data = memory.read_bytes()
    memory.write_bytes(data[: int(len(data) * share)])
    assert "cut off" in refused(memory, create=create)


@both
def test_a_memory_whose_tables_are_damaged(memory, create):
    data = bytearray(memory.read_bytes())
    data[100:4096] = b"\xa5" * (4096 - 100)  # the list of tables, on the first page
    memory.write_bytes(data)
    message = refused(memory, create=create)
    assert "is damaged" in message and "recover" in message


def test_damage_found_later(memory):
    data = bytearray(memory.read_bytes())
    data[2 * 4096 :] = b"\xa5" * (len(data) - 2 * 4096)
    memory.write_bytes(data)
    found = []
    try:
        with CaptionStore.open(memory) as store:
            for info in store.streams():
                for read in (store.captions, store.embeddings, store.visual_slots):
                    read(info.stream)
    except InputError as error:
        found.append(str(error))
    assert len(found) == 1 and "is damaged" in found[0] and "\n" not in found[0]


def test_a_missing_table(memory):
    connection = sqlite3.connect(memory)
    connection.execute("DROP TABLE streams")
    connection.close()
    assert "cannot be used (no such table: streams)" in refused(memory, create=True)


def test_a_lock_held_too_long(memory, made, monkeypatch, add):
    monkeypatch.setattr("rlivs.memory.schema.BUSY_SECONDS", 0.05)
    with CaptionStore.open(memory) as store:
        other = sqlite3.connect(memory, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(InputError, match="being written by another process"):
            add(store, "door", 1)
        assert len(store.captions("door")) == 6  # reading goes on
        other.execute("ROLLBACK")
        other.close()
        add(store, "door", 1)
        assert store.last_index("door") == 6


def test_the_file_is_created_with_the_first_stream(tmp_path):
    path = tmp_path / "captions.db"
    with CaptionStore.open(path) as store:
        assert store.streams() == []
        with pytest.raises(InputError, match="none yet"):
            store.last_index("a")
        with pytest.raises(InputError, match="cannot be empty"):
            store.create_stream("", source="", settings={})
    assert list(tmp_path.iterdir()) == []
    with CaptionStore.open(path) as store:
        store.create_stream("a", source="", settings={})
    assert [each.name for each in tmp_path.iterdir()] == ["captions.db"]
    assert len(CaptionStore.open(path, create=False).streams()) == 1


def test_a_file_created_by_another_store_meanwhile(tmp_path, add):
    path = tmp_path / "captions.db"
    with CaptionStore.open(path) as early, CaptionStore.open(path) as other:
        assert early.streams() == []
        other.create_stream("a", source="", settings={})
        add(other, "a", 2)
        assert [info.stream for info in early.streams()] == ["a"]
        assert len(early.embeddings("a")) == 2
        with pytest.raises(InputError, match="already has a stream 'a'"):
            early.create_stream("a", source="", settings={})
        early.create_stream("b", source="", settings={})
        assert [info.stream for info in other.streams()] == ["a", "b"]


def test_an_empty_file_is_a_new_memory(tmp_path, add):
    path = tmp_path / "captions.db"
    path.touch()
    with CaptionStore.open(path) as store:
        store.create_stream("a", source="", settings={})
        add(store, "a", 1)
    with CaptionStore.open(path, create=False) as store:
        assert store.last_index("a") == 0


@pytest.mark.parametrize("name", ["a?mode=ro.db", "file:x.db", "ünï 字.db", "a b%20c#d.db", "'quoted'.db"])
def test_odd_names(tmp_path, monkeypatch, name, add):
    monkeypatch.chdir(tmp_path)
    with CaptionStore.open(name) as store:
        store.create_stream("a", source="", settings={})
        add(store, "a", 1)
    assert [each.name for each in tmp_path.iterdir()] == [name]
    with CaptionStore.open(tmp_path / name, create=False) as store:
        assert store.last_index("a") == 0


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_names_that_no_file_can_have(tmp_path, name):
    with pytest.raises(InputError, match="cannot be a memory file"):
        CaptionStore.open(tmp_path / name)


def test_a_film_whose_name_is_no_text(memory):
    with CaptionStore.open(memory) as store:
        for name, source in (("caf\udce9", ""), ("new", "caf\udce9.mp4")):
            with pytest.raises(InputError, match="is no UTF-8 text"):
                store.create_stream(name, source=source, settings={})
        with pytest.raises(InputError, match="is no UTF-8 text"):
            store.captions("caf\udce9")
        assert [info.stream for info in store.streams()] == ["door", "yard"]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_was_deleted_while_it_was_open(memory, add, replaced):
    """SQLite goes on writing to what no longer has a name, or into the log of the new file."""
    with CaptionStore.open(memory) as store:
        add(store, "door", 1)
        memory.unlink()
        if replaced:
            with CaptionStore.open(memory) as other:
                other.create_stream("gate", source="", settings={})
                add(other, "gate", 2)
        with pytest.raises(InputError, match="deleted or replaced while it was open"):
            store.create_stream("gate", source="", settings={})
        with pytest.raises(InputError, match="deleted or replaced while it was open"):
            store.captions("door")
    if replaced:
        with CaptionStore.open(memory) as other:
            add(other, "gate", 1)
            assert other.last_index("gate") == 2


def test_reading_changes_nothing(memory):
    before = contents(memory.parent)
    with CaptionStore.open(memory, create=False) as store:
        store.recall("door")
        store.visual_slots("door")
    assert contents(memory.parent) == before


def test_the_file_is_in_wal_mode_and_says_what_it_is(memory):
    connection = sqlite3.connect(memory)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
    connection.close()
    with CaptionStore.open(memory) as store:
        assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
