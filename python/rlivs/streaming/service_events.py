"""What a stream tells those who follow it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Condition
from typing import Any, Literal

from rlivs.clock import Clock
from rlivs.memory.store import PAGE, Caption, CaptionStore
from rlivs.memory.stream_log import LogEntry, StoredGap

EventKind = Literal["caption", "gap", "dropped", "status", "error"]
# Passing news that is kept for followers who are late.
KEPT_NEWS = 256


@dataclass(frozen=True)
class Event:
    """One thing that happened; `data` holds JSON values.

    Captions and gaps are read from the store, where they were committed, and have serial numbers of their own, 0, 1,
    2, ... in a stream, also after a restart. The others pass; their number is that of the last caption or gap before.
    """

    serial: int
    kind: EventKind
    stream: str
    data: dict[str, Any]


class Notices:
    """Wakes followers up: when something was committed, and for passing news."""

    def __init__(self, stream: str, store: CaptionStore) -> None:
        self.stream = stream
        self.store = store
        self.changed = Condition()
        self.commits = 0
        self.news: deque[tuple[EventKind, dict[str, Any]]] = deque(maxlen=KEPT_NEWS)
        self.news_count = 0
        self.closed = False

    def committed(self) -> None:
        with self.changed:
            self.commits += 1
            self.changed.notify_all()

    def tell(self, kind: EventKind, data: dict[str, Any]) -> None:
        with self.changed:
            self.news.append((kind, data))
            self.news_count += 1
            self.changed.notify_all()

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()


class Subscription:
    """Events of one stream after serial number `after`, those of the past first. Iterate, or call `get`."""

    def __init__(self, notices: Notices, after: int = -1) -> None:
        self._notices = notices
        self._last = after
        self._waiting: deque[Event] = deque()
        # News that came while the log was being read: it is told after what had happened before.
        self._late: deque[tuple[EventKind, dict[str, Any]]] = deque(maxlen=KEPT_NEWS)
        self._commits = -1  # the store has not been read yet
        with notices.changed:
            self._news = notices.news_count

    def __iter__(self) -> Iterator[Event]:
        """Events as they come, until the stream is deleted or the service closed."""
        while True:
            event = self.get(timeout=None)
            if event is None:
                return
            yield event

    @property
    def ended(self) -> bool:
        """No event will come any more."""
        return self._notices.closed and not self._waiting

    def get(self, timeout: float | None = 0.0) -> Event | None:
        """The next event; None when none came within `timeout` seconds (None: without limit), or none will."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._waiting:
            with self._notices.changed:
                remaining = None if deadline is None else deadline - time.monotonic()
                if not self._notices.changed.wait_for(self._has_news, timeout=remaining):
                    return None
                if self._notices.closed:
                    return None
                commits = self._notices.commits
                self._late += self._unread_news()
            if commits != self._commits and self._read_page():
                continue
            self._commits = commits
            self._waiting += [Event(self._last, kind, self._notices.stream, data) for kind, data in self._late]
            self._late.clear()
        return self._waiting.popleft()

    def _read_page(self) -> bool:
        """Read entries of the log that were not read yet; whether there may be more."""
        stream, store = self._notices.stream, self._notices.store
        clock = store.clock(stream)
        entries = store.log(stream, self._last, PAGE)
        for entry in entries:
            self._waiting.append(event_of(stream, entry, clock))
            self._last = entry.serial
        return len(entries) == PAGE

    def _has_news(self) -> bool:
        notices = self._notices
        return notices.closed or notices.commits != self._commits or notices.news_count != self._news

    def _unread_news(self) -> list[tuple[EventKind, dict[str, Any]]]:
        count = min(self._notices.news_count - self._news, len(self._notices.news))
        self._news = self._notices.news_count
        return list(self._notices.news)[len(self._notices.news) - count :]


def event_of(stream: str, entry: LogEntry[Caption | StoredGap], clock: Clock) -> Event:
    """The event of a stored caption or gap."""
    item = entry.item
    span: dict[str, Any] = {"start": item.start, "end": item.end, **clock.stamps(item.start, item.end)}
    if isinstance(item, StoredGap):
        return Event(entry.serial, "gap", stream, {**span, "reason": item.reason})
    data = {
        "index": item.index,
        **span,
        "text": item.text,
        "num_tokens": item.num_tokens,
        "selected": list(item.selected),
    }
    return Event(entry.serial, "caption", stream, data)
