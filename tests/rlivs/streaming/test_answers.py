"""Answers: from captions that had ended, within the budget, in order of time."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlivs.errors import InputError
from rlivs.memory.store import Caption
from rlivs.streaming.answering import caption_line, captions_budget

NUMBER = 40
TEXTS = ["a red circle moves right.", "a blue square stays still.", "a green triangle moves up."]


@pytest.fixture
def session(make_engine):
    engine = make_engine(context_budget=100_000)
    session = engine.open("past")
    for index in range(NUMBER):
        start, end = 8.0 * index, 8.0 * (index + 1)
        text = TEXTS[index % len(TEXTS)]
        line = caption_line(start, end, text) + "\n"
        tokens = len(engine.backbone.tokenizer(line, add_special_tokens=False).input_ids)
        engine.store.append(
            Caption("past", index, start, end, text, tokens, (0,)),
            embedding=engine.embedder.embed([text])[0],
            embedder_id=engine.embedder.id,
            visual=None,
        )
    return session


def prompts_of(session, monkeypatch):
    texts = []
    original = session._backbone.text_prompt

    def spy(text):
        texts.append(text)
        return original(text)

    monkeypatch.setattr(session._backbone, "text_prompt", spy)
    return texts


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(8, 8.0 * NUMBER + 20))
def test_no_caption_that_ended_later_is_seen(session, at):
    with pytest.MonkeyPatch.context() as patch:
        prompts = prompts_of(session, patch)
        answer = session.ask("What happened at 0:08?", at=at)
        assert answer.citations
        assert all(cited.end <= at for cited in answer.citations)
        for index in range(NUMBER):
            start, end = 8.0 * index, 8.0 * (index + 1)
            if end > at:
                line = caption_line(start, end, TEXTS[index % len(TEXTS)])
                assert not any(line in prompt for prompt in prompts)


def test_before_the_first_caption_there_is_no_answer(session):
    with pytest.raises(InputError, match="nothing had been captioned by 0:07"):
        session.ask("What happened?", at=7.9)


def test_without_a_moment_all_captions_count(session):
    answer = session.ask("What happened at 0:08?")
    assert answer.at == 8.0 * NUMBER


def test_citations_are_in_order_and_within_the_budget(session, monkeypatch):
    budget = 100
    session.config = session.config.model_copy(update={"context_budget": budget})
    prompts = prompts_of(session, monkeypatch)
    answer = session.ask("What did the red circle do?")
    starts = [cited.start for cited in answer.citations]
    assert starts == sorted(starts)
    assert sum(cited.num_tokens for cited in answer.citations) <= budget
    assert 0 < len(answer.citations) < NUMBER
    for cited in answer.citations:
        assert caption_line(cited.start, cited.end, cited.text) in prompts[-1]


def test_a_time_in_the_question_brings_its_captions(session):
    session.config = session.config.model_copy(update={"context_budget": 100})

    def cited(question: str, at: float | None = None) -> set[int]:
        return {caption.index for caption in session.ask(question, at=at).citations}

    assert not {24, 25, 26} <= cited("What did the red circle do?")
    assert {24, 25, 26} <= cited("What did the red circle do at 3:20?")
    assert cited("What happened in the last 10 seconds?", at=200.0) >= {23, 24}


def test_the_budget_never_exceeds_the_model(session):
    backbone = session._backbone
    config = session.config.model_copy(update={"context_budget": 10**9})
    budget = captions_budget(backbone, config, "What happened?")
    assert 0 < budget < backbone.max_positions


def test_pieces_make_up_the_answer(session):
    pieces = []
    answer = session.ask("What happened at 0:08?", on_text=pieces.append)
    assert "".join(pieces) == answer.text
    assert len(pieces) > 1 or len(answer.text.split()) == 1


@pytest.mark.parametrize("question", ["", "  \n"])
def test_empty_questions(session, question):
    with pytest.raises(InputError, match="question is empty"):
        session.ask(question)


def test_a_question_in_another_encoding(session):
    with pytest.raises(InputError, match="no UTF-8 text"):
        session.ask("Who came to the caf\udce9?")


def test_special_tokens_in_a_question_do_not_act(session):
    """The question's `<|im_end|>` must not end the turn: the prompt has as many turn ends as that of any other."""
    backbone = session._backbone
    end = backbone.model.get_input_embeddings().weight[backbone.eos_token_ids[0]]

    def turn_ends(text):
        return int((backbone.text_prompt(text).inputs_embeds[0] == end).all(-1).sum())

    assert turn_ends("a <|im_end|> b") == turn_ends("a b")
    assert session.ask("What <|im_end|> happened at 0:08?").text


def test_the_same_question_twice_gives_the_same_answer(session):
    assert session.ask("What happened at 0:40?").text == session.ask("What happened at 0:40?").text


def test_embeddings_align_with_captions(session):
    embeddings = session._store.embeddings("past", ended_by=100.0)
    captions = session._store.captions("past", ended_by=100.0)
    assert embeddings.shape[0] == len(captions) == 12
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)


def test_no_caption_fits(session):
    session.config = session.config.model_copy(update={"context_budget": 1})
    with pytest.raises(InputError, match="no caption fits"):
        session.ask("What happened?")


def test_a_moment_that_is_no_number(session):
    with pytest.raises(InputError, match="give seconds"):
        session.ask("What happened?", at=float("nan"))
