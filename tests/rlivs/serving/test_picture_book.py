"""Pictures are kept of the clips that come, and the captions before them are not read."""

from __future__ import annotations

from threading import Event

from fake_service import FakeService, picture

from rlivs.serving.picture_book import PictureBook


class Listened(FakeService):
    """Tells from where its events are listened to, and when a picture was looked at."""

    def __init__(self):
        super().__init__()
        self.after, self.subscribed, self.looked = None, Event(), Event()

    def subscribe(self, stream, after=-1):
        self.after = after
        self.subscribed.set()
        return super().subscribe(stream, after)

    def latest_frame(self, stream):
        found = super().latest_frame(stream)
        self.looked.set()
        return found


def test_captions_before_the_first_look_are_not_read():
    service = Listened()
    service.create("door")
    for index in range(3):
        service.push("door", picture(), 8.0 * index)
    book = PictureBook(service)
    book.watch("door")
    assert service.subscribed.wait(60) and service.after == 2
    assert not service.looked.is_set()
    service.push("door", picture(), 24.0)
    assert service.looked.wait(60)
    book.close()
