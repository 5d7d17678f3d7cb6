"""Frames in and clips out of one stream of the service, where something is unusual."""

import numpy as np
import pytest
from films import write_film
from live_following import wait_for_state, watch_to_the_end

from rlivs.errors import InputError
from rlivs.memory.store import CaptionStore
from rlivs.streaming.service import Retention
from rlivs.video import Frame
from rlivs.video.clip_builder import ClipBuilder
from rlivs.video.live import open_source


def test_a_file_whose_captions_cannot_be_stored_is_continued_from_there(make_service, film, monkeypatch):
    service = make_service()
    service.create("film")
    append, failures = CaptionStore.append, [InputError("no room is left on the disk")]

    def append_or_fail(store, caption, *rest, **options):
        if caption.index == 3 and failures:
            raise failures.pop()
        return append(store, caption, *rest, **options)

    monkeypatch.setattr(CaptionStore, "append", append_or_fail)
    service.attach("film", open_source(film))
    status = wait_for_state(service, "film", "ended", "failed")
    assert (status.state, status.clips, status.last_error) == ("failed", 3, "no room is left on the disk")
    service.attach("film", open_source(film))
    assert wait_for_state(service, "film", "ended", "failed").state == "ended"
    captions = service._engine.store.captions("film")
    assert [(caption.start, caption.end) for caption in captions] == [(t, t + 1) for t in range(9)]
    assert not service._engine.store.gaps("film")


def test_old_captions_that_cannot_be_deleted_cost_no_clip(make_service, film, monkeypatch):
    service = make_service(retention=Retention(keep_last=2))
    service.create("film")

    def fail(*arguments, **options):
        raise InputError("the memory is locked")

    monkeypatch.setattr(CaptionStore, "prune", fail)
    service.attach("film", open_source(film))
    assert wait_for_state(service, "film", "ended", "failed").clips == 9
    assert not service._engine.store.gaps("film")


def test_a_source_that_breaks_off_has_failed_when_all_its_clips_are_captioned(make_service):
    """Who leaves at "failed", as `rlivs watch` does, has seen every caption."""

    def frames():
        yield from (np.full((32, 32, 3), value, np.uint8) for value in range(0, 200, 8))
        raise InputError("the file breaks off")

    service = make_service()
    service.create("cut")
    following = service.subscribe("cut")
    service.attach("cut", open_source(frames(), rate=4))
    captions = []
    while service.status("cut").state != "failed":
        event = following.get(timeout=0.1)
        captions += [event] if event is not None and event.kind == "caption" else []
    captions += [event for event in iter(lambda: following.get(0), None) if event.kind == "caption"]
    assert [event.data["index"] for event in captions] == list(range(6)) and service.status("cut").clips == 6


def test_another_film_is_not_continued_where_the_first_one_ended(make_service, film, tmp_path):
    service = make_service()
    service.create("film", source=film)
    service.attach("film", open_source(film))
    wait_for_state(service, "film", "ended")
    other = write_film(tmp_path / "other.mp4", seconds=12)
    with pytest.raises(InputError, match=r"was made from .+film\.mp4, not .+other\.mp4; give it that"):
        service.attach("film", open_source(other))
    service.attach("film", open_source(film))


def test_pushed_frames_go_on_behind_a_film(make_service, film):
    service = make_service()
    watch_to_the_end(service, film)
    with pytest.raises(InputError, match=r"a frame at 0\.000 s came after one at 8\.857 s"):
        service.push("film", np.zeros((32, 32, 3), np.uint8), 0.0)


def test_clips_are_made_one_by_one_where_a_picture_is_shown_for_long():
    """A day at one sample a second, of one picture: 86 GB if all clips were made at once."""
    builder = ClipBuilder(1, 4)
    picture = np.zeros((500, 500, 3), np.uint8)
    builder.push(Frame(picture, 0.0))
    samples, clips = builder.push(Frame(picture, 86_400.0))
    assert len(samples) == 86_400 and all(sample.image is picture for sample in samples)
    assert sum(1 for _ in clips) == 86_400 // 4


@pytest.mark.parametrize("leap", [86_401.0, 1e9])
def test_a_leap_of_more_than_a_day_is_refused(leap):
    builder = ClipBuilder(1, 4)
    builder.push(Frame(np.zeros((2, 2, 3), np.uint8), 0.0))
    with pytest.raises(InputError, match=r"the timestamps leap from 0\.000 s to"):
        builder.push(Frame(np.zeros((2, 2, 3), np.uint8), leap))
