"""Streams and questions at once, on one model."""

import threading
import time
from itertools import pairwise

import numpy as np
import pytest
from hand_camera import Camera, run_of
from live_following import captions_until, durable, wait_for_state, watch_to_the_end

from rlivs.errors import InputError
from rlivs.memory.store import Caption, CaptionStore
from rlivs.streaming import session
from rlivs.streaming.service import Retention, ServiceClosed
from rlivs.video.live import OVERLOAD, Gap, open_source

PATIENCE = 60.0  # after which what stalls gives up, so that a test fails rather than hangs
QUESTIONS = [("What is red?", "memory"), ("What moves now?", "auto"), ("What is there?", "recent-frames")]


def rows(store, stream):
    captions, embeddings = store.captions(stream), store.embeddings(stream)
    scores = [store.scores(stream, caption.index).tobytes() for caption in captions]
    kept = [(c.index, c.start, c.end, c.text, c.num_tokens, c.selected) for c in captions]
    return kept, embeddings.tobytes(), scores, store.visual_slots(stream)


@pytest.fixture
def undisturbed(make_engine, film):
    """What `Session.watch` makes of the film, and its answers once it is through."""
    engine = make_engine()
    session = engine.open("film")
    list(session.watch(film))
    return rows(engine.store, "film"), [session.ask(question, answer_from=way).text for question, way in QUESTIONS]


def test_a_film_watched_under_questions_gives_what_it_gives_alone(undisturbed, make_service, film, in_thread):
    """Captions, kept tokens, scores and embeddings are the same to the last bit while answers come in between."""
    service = make_service()
    service.create("film")
    service.create("other")
    following = service.subscribe("film")
    service.attach("film", open_source(film))
    captions_until(following, 1)
    service.attach("other", open_source(film))
    asked = [in_thread(lambda: [service.ask("film", q, answer_from=way) for q, way in QUESTIONS]) for _ in range(3)]
    captions_until(following, 8)
    wait_for_state(service, "film", "ended")
    wait_for_state(service, "other", "ended")
    for thread in asked:
        thread.join()
    store = service._engine.store
    expected, answers = undisturbed
    assert rows(store, "film") == expected
    assert rows(store, "other") == expected
    assert [service.ask("film", question, answer_from=way).text for question, way in QUESTIONS] == answers


def test_answers_are_the_same_while_captions_are_made(make_service, film):
    """A question about an early moment has one answer, whatever is captioned meanwhile."""
    service = make_service()
    service.create("film")
    following = service.subscribe("film")
    service.attach("film", open_source(film))
    captions_until(following, 2)
    during = [service.ask("film", "What is red?", at=2.0) for _ in range(3)]
    wait_for_state(service, "film", "ended")
    after = service.ask("film", "What is red?", at=2.0)
    assert {answer.text for answer in during} == {after.text}
    assert [c.index for c in after.citations] == [0, 1]


def test_a_live_stream_under_load_keeps_the_newest_clips_and_says_what_it_dropped(make_service):
    service = make_service()
    service.create("live")
    following = service.subscribe("live")
    camera = Camera()
    service.attach("live", camera)
    camera.send(*run_of(0, 60))  # all at once
    camera.send(Gap(59.75, 70.0, "lost"), *run_of(70, 72))
    camera.close()
    status = wait_for_state(service, "live", "ended")
    store = service._engine.store
    captions, gaps = store.captions("live"), store.gaps("live")
    dropped = [gap for gap in gaps if gap.reason == OVERLOAD]
    assert dropped and status.frames_dropped == sum(round((gap.end - gap.start) * 4) for gap in dropped)
    # Nothing is unaccounted for: captions and gaps follow one another from the first second to the last.
    spans = sorted([(c.start, c.end) for c in captions] + [(g.start, g.end) for g in gaps])
    assert spans[0][0] == 0 and spans[-1][1] >= 71.75
    assert all(abs(end - start) < 0.3 for (_, end), (start, _) in pairwise(spans))
    assert captions[-1].end >= 71.75
    told = sum(e.data["frames"] for e in iter(lambda: following.get(0), None) if e.kind == "dropped")
    assert told == status.frames_dropped


def test_short_losses_that_missed_no_sample_leave_the_clip_whole(make_service):
    service = make_service()
    service.create("live")
    camera = Camera()
    service.attach("live", camera)
    camera.send(*run_of(0, 0.6), Gap(0.5, 0.6, OVERLOAD), *run_of(0.6, 1.2))
    [clip] = captions_until(service.subscribe("live"), 1)
    assert (clip["start"], clip["end"]) == (0.0, 1.0)
    assert service._engine.store.gaps("live") == []
    camera.close()


def test_a_lost_connection_is_marked_and_splits_the_clip(make_service):
    service = make_service()
    service.create("live")
    camera = Camera()
    service.attach("live", camera)
    following = service.subscribe("live")
    camera.send(*run_of(0, 1.5), Gap(1.25, 20.0, "gone"))
    clips = captions_until(following, 2)
    camera.send(*run_of(20, 21.1))
    clips += captions_until(following, 1)
    assert [(clip["start"], clip["end"]) for clip in clips] == [(0, 1), (1, 1.5), (20, 21)]
    [gap] = service._engine.store.gaps("live")
    assert (gap.start, gap.end, gap.reason, gap.clip) == (1.25, 20.0, "gone", 2)
    assert durable(service.subscribe("live")) == [(0, "caption"), (1, "caption"), (2, "gap"), (3, "caption")]
    camera.close()


def test_events_are_taken_up_where_they_were_left(make_service, film, tmp_path):
    memory = tmp_path / "captions.db"
    service = make_service(memory)
    watch_to_the_end(service, film)
    first = durable(service.subscribe("film"))
    assert first == [(number, "caption") for number in range(9)]
    assert durable(service.subscribe("film", after=4)) == first[5:]
    again = make_service(memory)
    assert durable(again.subscribe("film", after=6)) == first[7:]
    assert again.status("film").state == "stored"


def test_an_event_is_told_once_it_is_committed(make_service, film, tmp_path):
    memory = tmp_path / "captions.db"
    service = make_service(memory)
    service.create("film")
    following = service.subscribe("film")
    service.attach("film", open_source(film))
    with CaptionStore.open(memory, create=False) as other:
        for data in captions_until(following, 9):
            assert other.captions("film")[data["index"]].text == data["text"]


def test_a_stream_continues_after_a_restart(undisturbed, make_service, film, tmp_path):
    """Stopped in the middle, once with clips waiting, and continued: the same as in one go."""
    memory = tmp_path / "captions.db"
    for resume, until in [(False, 2), (True, 3)]:
        service = make_service(memory)
        service.create("film", resume=resume)
        following = service.subscribe(
            "film", after=max([-1, *(serial for serial, _ in durable(service.subscribe("film")))])
        )
        service.attach("film", open_source(film))
        captions_until(following, until)
        service.close()
    service = make_service(memory)
    service.create("film", resume=True)
    service.attach("film", open_source(film))
    wait_for_state(service, "film", "ended")
    assert rows(service._engine.store, "film") == undisturbed[0]


def test_a_live_stream_that_is_watched_again_later(make_service, tmp_path):
    memory = tmp_path / "captions.db"
    for resume in (False, True):
        service = make_service(memory)
        service.create("live", resume=resume)
        camera = Camera()
        service.attach("live", camera)
        camera.send(*run_of(0, 2))
        camera.close()
        wait_for_state(service, "live", "ended")
        store = service._engine.store
        store.set_epoch("live", time.time() - 100)  # as if it had begun then
    captions, [gap] = store.captions("live"), store.gaps("live")
    assert gap.reason == "not watched"
    before, after = captions[: gap.clip], captions[gap.clip :]
    assert before[-1].end == gap.start and 100 <= gap.end <= after[0].start <= gap.end + 0.25
    assert len(before) == len(after) == 2


def test_frames_that_are_pushed(make_service):
    service = make_service()
    service.create("pushed")
    for frame in run_of(0, 2.1):
        service.push("pushed", frame.image, frame.time)
    clips = captions_until(service.subscribe("pushed"), 2)
    assert [clip["start"] for clip in clips] == [0, 1]
    with pytest.raises(InputError, match="order of time"):
        service.push("pushed", run_of(0, 1)[0].image, 1.0)
    service.detach("pushed")
    [last] = captions_until(service.subscribe("pushed", after=1), 1)
    assert last["start"] == 2.0


def test_the_present_is_answered_from_frames_that_are_not_captioned(make_service):
    service = make_service()
    service.create("pushed")
    for frame in run_of(0, 0.6):
        service.push("pushed", frame.image, frame.time)
    answer = service.ask("pushed", "What is there?", answer_from="auto")  # nothing is captioned yet
    assert answer.frame_times == (0.0, 0.25) and answer.citations == () and answer.at == 0.25
    for frame in run_of(0.75, 2.6):
        service.push("pushed", frame.image, frame.time)
    captions_until(service.subscribe("pushed"), 2)
    now = service.ask("pushed", "What is there now?", answer_from="auto")
    assert now.frame_times == (1.5, 1.75, 2.0, 2.25)  # as many as a clip has
    assert now.text == service.ask("pushed", "What is there now?", answer_from="recent-frames").text
    assert service.ask("pushed", "What was there?", answer_from="auto").frame_times == ()
    assert service.ask("pushed", "What?", answer_from="recent-frames", at=1.8).frame_times == (1.5, 1.75)
    with pytest.raises(InputError, match="answer_from"):
        service.ask("pushed", "What?", answer_from="frames")


def test_what_cannot_be_asked_is_said(make_service):
    service = make_service()
    service.create("new")
    for question, way, words in [
        ("", "memory", "empty"),
        ("Who?", "memory", "captioned"),
        ("Who?", "recent-frames", "frame"),
    ]:
        with pytest.raises(InputError, match=words):
            service.ask("new", question, answer_from=way)
    with pytest.raises(InputError, match="no stream"):
        service.ask("unknown", "Who?")
    with pytest.raises(InputError, match="open already"):
        service.create("new", resume=True)


def test_one_who_stops_listening_ends_the_answer(make_service, film):
    service = make_service(max_answer_tokens=64)
    service.create("film")
    service.attach("film", open_source(film))
    captions_until(service.subscribe("film"), 1)

    def leave(piece):
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        service.ask("film", "What is red?", on_text=leave)
    pieces = []
    assert service.ask("film", "What is red?", on_text=pieces.append).text == "".join(pieces)
    wait_for_state(service, "film", "ended")


def test_a_clip_that_fails_is_a_gap_and_the_stream_goes_on(make_service, film, monkeypatch):
    service = make_service()
    service.create("film")
    ready_clip = session.ready_clip

    def fail_once(backbone, clip, *rest):
        if clip.start == 2.0:
            raise RuntimeError("no memory")
        return ready_clip(backbone, clip, *rest)

    monkeypatch.setattr(session, "ready_clip", fail_once)
    following = service.subscribe("film")
    service.attach("film", open_source(film))
    status = wait_for_state(service, "film", "ended")
    assert status.clips == 8 and status.frames_dropped == 4
    [gap] = service._engine.store.gaps("film")
    assert (gap.start, gap.end) == (2.0, 3.0) and "no memory" in gap.reason
    assert [e.data for e in iter(lambda: following.get(0), None) if e.kind == "error"] == [{"message": "no memory"}]


def test_a_source_that_fails_leaves_the_others_alone(make_service, film):
    service = make_service()
    service.create("bad")
    service.create("good")
    service.attach("bad", open_source([np.zeros((4, 4), np.uint8)]))
    service.attach("good", open_source(film))
    assert "[height, width, 3]" in wait_for_state(service, "bad", "failed").last_error
    assert wait_for_state(service, "good", "ended").clips == 9
    service.attach("bad", open_source(film))  # another try
    assert wait_for_state(service, "bad", "ended").clips == 9


def test_a_deleted_stream_is_gone(make_service, film):
    service = make_service()
    service.create("film")
    following = service.subscribe("film")
    service.attach("film", open_source(film))
    captions_until(following, 1)
    service.delete("film")
    assert all(event.stream == "film" for event in following)  # what had come, then an end
    assert following.ended and service.streams() == []
    service.create("film")  # the name is free
    assert service.status("film").clips == 0


def test_a_stream_of_another_model_disturbs_no_other(make_service, tmp_path):
    memory = tmp_path / "captions.db"
    service = make_service(memory)
    service.create("mine")
    with CaptionStore.open(memory) as other:
        other.create_stream("theirs", source="b.mp4", settings={"model": "another", "clock": True}, epoch=5.0)
        caption = Caption("theirs", 0, 0.0, 8.0, "a red car", 3, (0, 1))
        other.append(caption, embedding=np.ones(5, np.float32), embedder_id="another", visual=b"not read")
    mine, theirs = service.streams()
    assert (mine.stream, mine.state) == ("mine", "idle")
    assert (theirs.stream, theirs.source, theirs.state, theirs.clips) == ("theirs", "b.mp4", "stored", 1)
    assert (theirs.memory_bytes, theirs.epoch) == (0, 5.0)
    assert service.status("theirs") == theirs
    following = service.subscribe("theirs")
    assert [data["text"] for data in captions_until(following, 1)] == ["a red car"]
    assert service.latest_frame("theirs") is None
    with pytest.raises(InputError, match="embedded by another"):
        service.ask("theirs", "What is red?")
    with pytest.raises(InputError, match="resume=True"):
        service.push("theirs", run_of(0, 1)[0].image, 8.0)
    service.delete("theirs")
    assert following.ended and [status.stream for status in service.streams()] == ["mine"]


def test_a_stream_that_is_not_open_is_followed_and_asked(make_service, film, tmp_path):
    memory = tmp_path / "captions.db"
    service = make_service(memory)
    watch_to_the_end(service, film)
    answer = service.ask("film", "What is red?")
    again = make_service(memory)
    following = again.subscribe("film", after=8)
    assert again.ask("film", "What is red?").text == answer.text
    assert again.status("film").state == "stored" and not following.ended
    again.create("film", resume=True)  # who follows it is to look again
    assert following.ended and again.status("film").state == "idle"


class Stalled(Camera):
    """A film at an address that sends nothing more: it ends when the read does, whatever is closed."""

    live = False

    def __init__(self):
        super().__init__()
        self.closing, self.released = threading.Event(), threading.Event()

    def frames(self, start=0.0):
        self.released.wait(PATIENCE)
        yield from ()

    def close(self):
        self.closing.set()


def test_a_stream_whose_source_stalls_is_deleted_while_the_others_go_on(make_service, in_thread):
    service = make_service()
    service.create("stalled")
    service.create("other")
    source = Stalled()
    service.attach("stalled", source)
    deletion = in_thread(service.delete, "stalled")
    assert source.closing.wait(PATIENCE)
    service.push("other", run_of(0, 1)[0].image, 0.0)
    assert [status.stream for status in service.streams()] == ["other"]
    for call in (service.delete, service.create, service.status, service.subscribe):
        with pytest.raises(InputError, match="being deleted"):
            call("stalled")
    assert deletion.is_alive()  # all that was while it waited
    source.released.set()
    deletion.join()
    with pytest.raises(InputError, match="no stream"):
        service.delete("stalled")
    assert service.create("stalled").clips == 0


def test_closing_waits_for_what_is_being_deleted(make_service, in_thread):
    service = make_service()
    service.create("stalled")
    source = Stalled()
    service.attach("stalled", source)
    in_thread(service.delete, "stalled")
    assert source.closing.wait(PATIENCE)
    closing = in_thread(service.close)
    with pytest.raises(ServiceClosed):
        while True:
            service.streams()
    source.released.set()
    closing.join()
    assert service._engine.store.streams() == []


def test_a_stream_that_vanishes_while_listing_is_left_out(make_service, monkeypatch):
    service = make_service()
    store = service._engine.store
    for name in ("stays", "goes"):
        store.create_stream(name, source="", settings={})
    listed = store.streams

    def deleted_meanwhile():
        found = listed()
        if any(info.stream == "goes" for info in found):
            store.delete_stream("goes")
        return found

    monkeypatch.setattr(store, "streams", deleted_meanwhile)
    assert [status.stream for status in service.streams()] == ["stays"]


def test_old_captions_go_while_new_ones_come(make_service, film):
    service = make_service(retention=Retention(keep_last=3))
    assert watch_to_the_end(service, film).clips == 9
    captions, embeddings = service._engine.store.recall("film")
    assert [caption.index for caption in captions] == [6, 7, 8] and len(embeddings) == 3
    assert [c.index for c in service.ask("film", "What?").citations] == [6, 7, 8]


def test_the_picture_and_where_the_caption_looked(make_service, film):
    service = make_service()
    service.create("film")
    assert service.latest_frame("film") is None
    service.attach("film", open_source(film))
    wait_for_state(service, "film", "ended")
    latest = service.latest_frame("film")
    assert latest.image.shape == (96, 96, 3) and latest.time > 8.8
    caption = service._engine.store.captions("film")[-1]
    rows_, columns = service._engine.backbone.grid
    last_frame = [index - 3 * rows_ * columns for index in caption.selected if index >= 3 * rows_ * columns]
    assert np.flatnonzero(latest.overlay.selected).tolist() == last_frame
    assert latest.overlay.clip == 8 and latest.overlay.scores.shape == (rows_, columns)


def test_a_closed_service_refuses(make_service):
    service = make_service()
    service.create("a")
    following = service.subscribe("a")
    service.close()
    service.close()
    assert list(following) == [] and following.ended
    with pytest.raises(ServiceClosed):
        service.ask("a", "What?")
