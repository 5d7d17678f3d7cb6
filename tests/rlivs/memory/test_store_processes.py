"""Several processes on one memory, and processes that are killed."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest

from rlivs.memory.store import CaptionStore

# Appends captions to a stream and prints each index once it is committed.
WRITER = """
import sys
import numpy as np
from rlivs.errors import InputError
from rlivs.memory.store import Caption, CaptionStore

path, stream, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = CaptionStore.open(path)
try:
    store.create_stream(stream, source="", settings={})
except InputError:
    pass
print("ready", flush=True)
sys.stdin.readline()
done = 0
while done < count:
    index = store.last_index(stream) + 1
    try:
        store.append(
            Caption(stream, index, index, index + 1, f"caption {index}", 2, (index,)),
            embedding=np.full(16, index, np.float32), embedder_id="e",
            visual=b"%d" % index * 2000, keep_visual=3, scores=np.full(500, index, np.float32),
        )
    except InputError as error:
        assert "expects clip" in str(error), error
        continue
    done += 1
    print(index, flush=True)
store.close()
"""


def start_writer(path, stream: str, count: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), stream, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def begin(writer: subprocess.Popen) -> None:
    assert writer.stdout.readline() == "ready\n"
    writer.stdin.write("\n")
    writer.stdin.flush()


def check_rows(path, stream: str) -> int:
    """All that belongs to each clip is there. The number of clips."""
    with CaptionStore.open(path, create=False) as store:
        captions, embeddings = store.recall(stream)
        count = len(captions)
        assert [caption.text for caption in captions] == [f"caption {index}" for index in range(count)]
        assert len(embeddings) == count
        first = embeddings[:, 0] if count else []
        np.testing.assert_array_equal(first, np.arange(count))
        assert store.visual_slots(stream) == [b"%d" % index * 2000 for index in range(max(0, count - 3), count)]
        assert all(store.scores(stream, index)[0] == index for index in range(count))
    return count


def test_what_was_acknowledged_survives_sigkill(tmp_path):
    """Ten writers one after the other on one file, each killed at a random moment, the first two at any at all."""
    path = tmp_path / "captions.db"
    moments = random.Random(0)
    acknowledged = -1
    for number in range(10):
        writer = start_writer(path, "a", 10**9)
        lines = []
        if number < 2:
            time.sleep(moments.uniform(0.0, 0.4))  # perhaps while the file is being created
        else:
            begin(writer)
            lines = [writer.stdout.readline() for _ in range(moments.randrange(12))]
            time.sleep(moments.uniform(0.0, 0.02))
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.read().splitlines()
        writer.wait()
        acknowledged = max([acknowledged, *(int(line) for line in lines if line.strip().isdigit())])
        if path.exists() and path.stat().st_size:
            with CaptionStore.open(path, create=False) as store:
                known = [info.stream for info in store.streams()]
            count = check_rows(path, "a") if known else 0
            assert acknowledged + 1 <= count <= acknowledged + 2  # one may be committed and not yet printed
            acknowledged = count - 1
    assert acknowledged >= 10
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_captions_are_read_while_another_process_writes(tmp_path):
    path = tmp_path / "captions.db"
    writer = start_writer(path, "a", 60)
    begin(writer)
    with CaptionStore.open(path, create=False) as store:
        for line in writer.stdout:
            captions, embeddings = store.recall("a", ended_by=1000.0)
            assert len(captions) > int(line)
            assert [caption.index for caption in captions] == list(range(len(captions)))
            assert embeddings[:, 0].tolist() == list(range(len(captions)))
    assert writer.wait() == 0
    assert check_rows(path, "a") == 60


@pytest.mark.parametrize("streams", [("a", "b"), ("a", "a")])
def test_two_processes_write(tmp_path, streams):
    """Two streams side by side; and one stream, where a clip taken by the other is refused."""
    path = tmp_path / "captions.db"
    writers = [start_writer(path, stream, 30) for stream in streams]
    for writer in writers:
        begin(writer)
    printed = [writer.communicate()[0].split() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    for stream in set(streams):
        indices = [int(each) for name, lines in zip(streams, printed, strict=True) if name == stream for each in lines]
        assert sorted(indices) == list(range(len(indices)))
        assert check_rows(path, stream) == len(indices)
