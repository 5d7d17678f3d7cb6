"""A camera that sends what a test says, and pictures for it."""

import threading

import numpy as np

from rlivs.video import Frame
from rlivs.video.live import SourceStatus


class Camera:
    """A live source that sends what a test says, when it says so."""

    name, live = "camera", True

    def __init__(self):
        self._items, self._changed, self._closed = [], threading.Condition(), False

    def send(self, *items):
        with self._changed:
            self._items += items
            self._changed.notify_all()

    def frames(self, start=0.0):
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._closed)
                if not self._items:
                    return
                item = self._items.pop(0)
            yield item

    def status(self):
        return SourceStatus(state="running")

    def close(self):
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def picture(time):
    return Frame(np.full((32, 32, 3), int(40 * time) % 256, np.uint8), time)


def run_of(start, stop, step=0.25):
    return [picture(time) for time in np.arange(start, stop, step).tolist()]
