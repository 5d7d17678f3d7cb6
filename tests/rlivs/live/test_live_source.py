"""A source that goes on by itself: what it keeps, what it drops, when it is given up."""

import socket
import threading

import pytest
from films import write_film

from rlivs.errors import InputError
from rlivs.video.live import OVERLOAD, Gap, LiveSource, SourceStatus


@pytest.fixture
def source_of(tmp_path):
    """A live source that plays a film of 2 s, 20 frames a second, over and over."""
    sources = []

    def make(**options):
        path = tmp_path / "film.mp4"
        write_film(path, seconds=2, fps=20, side=32)
        sources.append(LiveSource(str(path), **options))
        return sources[-1]

    yield make
    for source in sources:
        source.close()


def next_items(items, count):
    return [next(items) for _ in range(count)]


def test_nothing_is_dropped_from_one_that_is_read_in_time(source_of):
    source = source_of(waiting_frames=100)
    items = next_items(source.frames(), 60)
    gaps = [item for item in items if isinstance(item, Gap)]
    news = [item for item in items if isinstance(item, SourceStatus)]
    frames = [item for item in items if not isinstance(item, Gap | SourceStatus)]
    assert len(gaps) == 1 and gaps[0].reason == "the sender ended the stream"
    assert [(each.state, each.error) for each in news] == [("reconnecting", "the sender ended the stream")]
    times = [frame.time for frame in frames]
    assert times == sorted(times)
    assert source.status().frames_dropped == 0 and source.status().reconnects == 1


def test_of_one_that_is_not_read_the_newest_frames_are_kept_and_the_others_counted(source_of):
    source = source_of(waiting_frames=4)
    items = source.frames()
    first = next(items)
    while source.status().frames_in < 30:  # nobody reads meanwhile
        threading.Event().wait(0.01)
    missed, following = next(items), next(items)
    assert isinstance(missed, Gap) and missed.reason == OVERLOAD
    assert first.time < missed.start < missed.end == following.time
    # Every frame of the gap is counted: the film has one each 0.05 s, and the gap begins with the first that went.
    assert source.status().frames_dropped >= round((missed.end - missed.start) / 0.05) >= 24


def test_one_that_nobody_answers_for_is_given_up(free_port):
    source = LiveSource(f"tcp://127.0.0.1:{free_port}", format="mpegts", give_up_after=0.3)
    items = source.frames()
    news = next(items)
    assert (news.state, news.error) == ("connecting", "Connection refused")  # once: it is refused again and again
    with pytest.raises(InputError, match=r"given up: Connection refused; check"):
        next(items)
    assert source.status().state == "failed"


def test_one_that_falls_silent_is_connected_again(free_port):
    """A sender that accepts and says nothing: the time-out ends each connection."""
    connections = []
    twice = threading.Event()

    def accept():
        with socket.create_server(("127.0.0.1", free_port)) as server:
            for _ in range(2):
                connections.append(server.accept()[0])
            twice.set()

    threading.Thread(target=accept, daemon=True).start()
    source = LiveSource(f"tcp://127.0.0.1:{free_port}", format="mpegts", timeout=0.5)
    reader = threading.Thread(target=lambda: list(source.frames()), daemon=True)
    reader.start()
    twice.wait()
    assert source.status().state == "connecting"
    source.close()
    reader.join()
    for connection in connections:
        connection.close()


def test_closing_ends_a_wait(free_port):
    source = LiveSource(f"tcp://127.0.0.1:{free_port}", format="mpegts")
    reader = threading.Thread(target=lambda: list(source.frames()))
    reader.start()
    source.close()
    reader.join()
    assert source.status().state == "closed"
