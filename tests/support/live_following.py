"""Waiting for what a service says."""

from rlivs.video.live import open_source


def captions_until(subscription, count):
    """The data of the next `count` captions."""
    found = []
    while len(found) < count:
        event = subscription.get(timeout=None)
        assert event is not None, "the stream ended early"
        assert event.kind != "error", event.data
        if event.kind == "caption":
            found.append(event.data)
    return found


def wait_for_state(service, stream, *states):
    """Follow the stream until it is in one of `states`; its status then."""
    subscription = service.subscribe(stream)
    while True:
        status = service.status(stream)
        if status.state in states:
            return status
        subscription.get(timeout=0.2)


def watch_to_the_end(service, film):
    """Caption a film as the new stream "film"; its status then."""
    service.create("film")
    service.attach("film", open_source(film))
    return wait_for_state(service, "film", "ended")


def durable(subscription):
    """The captions and gaps there are now, as (serial, kind)."""
    found = []
    while (event := subscription.get(timeout=0)) is not None:
        if event.kind in ("caption", "gap"):
            found.append((event.serial, event.kind))
    return found
