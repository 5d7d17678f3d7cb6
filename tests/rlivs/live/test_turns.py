"""Whose turn the model's thread gives: with streams and answers that only note their steps."""

import threading

import pytest

from rlivs.streaming.answering import Answer
from rlivs.streaming.service_turns import ANSWERS_AT_ONCE, AnswerJob, ModelThread, ServiceClosed

STEPS_A_CLIP = 5


def caption(streams, between_steps):
    for stream in streams:
        stream.work(between_steps)


@pytest.fixture
def model():
    model = ModelThread(caption)
    yield model
    model.close()


class Stream:
    """Clips of five steps each, noted as "name.step"."""

    def __init__(self, name, clips, notes):
        self.name, self.clips, self.notes = name, clips, notes
        self.done = threading.Event()
        self.gate = threading.Event()

    def has_work(self):
        return self.gate.is_set() and self.clips > 0

    def work(self, between_steps):
        for step in range(STEPS_A_CLIP):
            self.notes.append(f"{self.name}.{step}")
            between_steps()
        self.clips -= 1
        if not self.clips:
            self.done.set()


def open_gates(model, *streams):
    for stream in streams:
        model.add(stream)
    for stream in streams:
        stream.gate.set()
    model.wake()


def steps_of(name, count, notes, on_text=None):
    for _ in range(count):
        notes.append(name)
        yield
    return Answer(name, "text", 0.0, ())


def answered(model, name, count, notes):
    job = AnswerJob(lambda put: steps_of(name, count, notes))
    model.answer(job)
    return job


def test_streams_take_turns_clip_by_clip(model):
    notes = []
    streams = [Stream(name, 4, notes) for name in "abc"]
    open_gates(model, *streams)
    for stream in streams:
        stream.done.wait()
    clips = [note[0] for note in notes if note.endswith(".0")]
    assert clips == list("abc") * 4


def test_several_streams_at_once_are_those_that_waited_longest():
    notes, turns = [], []

    def note(streams, between_steps):
        turns.append([stream.name for stream in streams])
        caption(streams, between_steps)

    model = ModelThread(note, captions_at_once=3)
    streams = [Stream(name, 3, notes) for name in "abcde"]
    with model._changed:  # all at once
        open_gates(model, *streams)
    for stream in streams:
        stream.done.wait()
    model.close()
    assert turns == [list("abc"), list("dea"), list("bcd"), list("eab"), list("cde")]


def test_a_stream_that_always_has_work_does_not_starve_one_that_seldom_has(model):
    notes = []
    busy, seldom = Stream("busy", 10**9, notes), Stream("seldom", 1, notes)
    model.add(busy)
    model.add(seldom)
    busy.gate.set()
    model.wake()
    while len(notes) < 3 * STEPS_A_CLIP:
        pass
    before = len(notes)
    seldom.gate.set()
    model.wake()
    seldom.done.wait()
    begun = notes.index("seldom.0")
    assert begun <= before + 2 * STEPS_A_CLIP  # the clip under way, and one that may have begun meanwhile


def test_between_two_steps_of_a_caption_each_answer_gets_one(model):
    notes, jobs = [], []

    class Asked(Stream):
        def work(self, between_steps):
            if not jobs:
                jobs.extend(answered(model, name, 12, notes) for name in ("first", "second"))
            super().work(between_steps)

    stream = Asked("clip", 6, notes)
    open_gates(model, stream)
    stream.done.wait()
    assert [job.wait(None, None).text for job in jobs] == ["text", "text"]
    assert [note.split(".")[0] for note in notes[:36]] == ["clip", "first", "second"] * 12


def test_answers_wait_their_turn_and_all_come(model):
    notes = []
    count = ANSWERS_AT_ONCE + 3
    jobs = [answered(model, str(number), 50, notes) for number in range(count)]
    assert [job.wait(None, None).question for job in jobs] == [str(number) for number in range(count)]
    # The last one begins when another has ended, not before.
    assert notes.index(str(count - 1)) > 50


def test_an_answer_fails_alone(model):
    def broken():
        yield
        raise ValueError("no")

    bad = AnswerJob(lambda put: broken())
    model.answer(bad)
    good = answered(model, "good", 3, [])
    with pytest.raises(ValueError, match="no"):
        bad.wait(None, None)
    assert good.wait(None, None).text == "text"


def test_pieces_come_to_the_thread_that_asked(model):
    threads = []

    def speak(put):
        put("a")
        yield
        put("b")
        return Answer("q", "ab", 0.0, ())

    job = AnswerJob(speak)
    model.answer(job)
    job.wait(None, lambda piece: threads.append((piece, threading.current_thread())))
    assert threads == [("a", threading.current_thread()), ("b", threading.current_thread())]


def test_an_answer_nobody_waits_for_ends(model):
    notes = []
    job = AnswerJob(lambda put: steps_of("endless", 10**9, notes))
    model.answer(job)
    with pytest.raises(TimeoutError, match="no answer"):
        job.wait(0.05, None)
    answered(model, "next", 2, notes).wait(None, None)
    count = notes.count("endless")
    answered(model, "later", 100, notes).wait(None, None)
    assert notes.count("endless") == count


def test_closing_refuses_answers():
    model = ModelThread(caption)
    job = AnswerJob(lambda put: steps_of("endless", 10**9, []))
    model.answer(job)
    model.close()
    with pytest.raises(ServiceClosed):
        job.wait(None, None)
    with pytest.raises(ServiceClosed):
        model.answer(job)


def test_a_stream_that_is_removed_is_not_worked_on(model):
    notes = []
    stream = Stream("a", 10**6, notes)
    open_gates(model, stream)
    while not notes:
        pass
    model.remove(stream)
    count = len(notes)
    answered(model, "other", 20, []).wait(None, None)
    assert len(notes) == count and count % STEPS_A_CLIP == 0
