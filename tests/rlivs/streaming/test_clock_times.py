"""A recording whose start is known: captions, questions and answers go by the wall clock."""

import time
from datetime import UTC, datetime

import numpy as np
import pytest

from rlivs.errors import InputError

pytestmark = pytest.mark.usefixtures("berlin")
START = datetime(2031, 5, 6, 14, 5, 10)


@pytest.fixture
def engine(make_engine):
    return make_engine()


@pytest.fixture
def session(engine, film):
    session = engine.open("door", starts_at=START)
    list(session.watch(film))
    return session


def test_the_prompt_tells_the_clock(session, monkeypatch):
    prompts = []
    backbone = session._backbone
    original = backbone.text_prompt
    monkeypatch.setattr(backbone, "text_prompt", lambda text: prompts.append(text) or original(text))
    answer = session.ask("What happened at 14:05?")
    captions = session.captions
    assert [cited.index for cited in answer.citations] == [0, 1, 2] and answer.question == "What happened at 14:05?"
    lines = [
        f"[2031-05-06 14:05:10-14:05:14] {captions[0].text}\n",
        f"[2031-05-06 14:05:14-14:05:18] {captions[1].text}\n",
        f"[2031-05-06 14:05:18-14:05:21] {captions[2].text}\n",
    ]
    assert "".join(lines) in prompts[-1]
    assert "Question: It is 2031-05-06 14:05:21. What happened at 14:05?\n" in prompts[-1]
    # The budget counts what stands in the prompt.
    tokenizer = backbone.tokenizer
    assert [c.num_tokens for c in captions] == [len(tokenizer(t, add_special_tokens=False).input_ids) for t in lines]


def test_a_time_of_day_brings_its_captions(session):
    dearest = max(caption.num_tokens for caption in session.captions)
    session.config = session.config.model_copy(update={"context_budget": 2 * dearest})
    first = {cited.index for cited in session.ask("What happened at 14:05:11?").citations}
    last = {cited.index for cited in session.ask("What happened at 14:05:20?").citations}
    assert (first, last) == ({0, 1}, {1, 2})


def test_a_start_stays(engine, session):
    engine.open("door", resume=True)
    same = engine.open("door", resume=True, starts_at=datetime(2031, 5, 6, 12, 5, 10, tzinfo=UTC))
    assert same.clock.tell(0) == "2031-05-06 14:05:10"
    with pytest.raises(InputError, match="starts at 2031-05-06 14:05:10; resume it without another start"):
        engine.open("door", resume=True, starts_at=datetime(2031, 5, 6, 14, 5, 11))
    for wrong in (datetime(1, 1, 1), START.date(), "2031-05-06"):
        with pytest.raises(InputError, match="give a datetime of the years"):
            engine.open("wrong", starts_at=wrong)
    assert "wrong" not in [info.stream for info in engine.store.streams()]
    engine.open("counted")
    with pytest.raises(InputError, match="counts its moments from second 0"):
        engine.open("counted", resume=True, starts_at=START)


def test_frames_that_are_pushed_come_now(make_engine):
    session = make_engine(clock=True).open("desk")
    before = time.time()
    for second in (100, 101, 102):
        session.push(np.zeros((32, 32, 3), np.uint8), second)
    session.flush()
    assert before <= session.clock.epoch + 100 <= time.time()
    assert session.ask("What was there today?").clock == session.clock


def test_a_start_may_come_later_where_there_is_none(make_engine):
    engine = make_engine(clock=True)
    engine.open("door")
    assert engine.open("door", resume=True, starts_at=START).clock.tell(0) == "2031-05-06 14:05:10"


def test_a_film_has_no_clock_and_gets_none(make_engine, film):
    session = make_engine(clock=True).open("film")
    list(session.watch(film))
    session.push(np.zeros((96, 96, 3), np.uint8), 12.0)
    assert session.clock.epoch is None and session.ask("What was there?").clock.epoch is None


def test_now_is_the_newest_moment_that_is_known(session, engine):
    assert session.ask("What happened?").at == 11
    session.push(np.zeros((96, 96, 3), np.uint8), 20.0)
    session.push(np.zeros((96, 96, 3), np.uint8), 22.0)
    assert session.ask("What happened?").at == 21.75  # the last frame sampled
    engine.store.add_gap("door", 22.0, 86400.0, "not watched")
    assert session.ask("What happened?").at == 86400
    assert session.ask("What happened?", at=float("inf")).at == 86400
    with pytest.raises(InputError, match="no calendar has second"):
        session.ask("What happened?", at=1e15)


@pytest.mark.parametrize("time", [float("nan"), float("inf"), -1e9, 1e9])
def test_times_that_cannot_be(make_engine, time):
    session = make_engine(clock=True).open("desk")
    with pytest.raises(InputError, match="cannot follow"):
        session.push(np.zeros((32, 32, 3), np.uint8), time)
    assert session.clock.epoch is None
