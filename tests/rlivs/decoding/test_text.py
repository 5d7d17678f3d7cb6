"""Ids to text, whole and piece by piece."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny_tokenizer

from rlivs.decoding import TextStream, decode_text

TOKENIZER = tiny_tokenizer("<image>", "<video>")


def streamed(ids):
    pieces = []
    stream = TextStream(TOKENIZER, pieces.append)
    for token in ids:
        stream(token)
    return pieces


def test_special_tokens_and_outer_white_space_are_left_out():
    ids = TOKENIZER("<|im_start|> A red disc. \n<|im_end|>").input_ids
    assert decode_text(TOKENIZER, ids) == "A red disc."


@pytest.mark.parametrize("text", ["plain words", "été à Zürich", "雨が降る", "a 🙂 b", " spaces  inside "])
def test_pieces_make_the_text(text):
    pieces = streamed(TOKENIZER(text).input_ids)
    assert "".join(pieces) == text.strip()
    assert all("\ufffd" not in piece for piece in pieces)


def test_half_a_character_at_the_end_is_left_out():
    ids = TOKENIZER("雨が 🙂").input_ids
    texts = [decode_text(TOKENIZER, ids[:count]) for count in range(len(ids) + 1)]
    assert {"", "雨", "雨が", "雨が 🙂"} == set(texts)
    assert "".join(streamed(ids[:-1])) == "雨が"


@given(st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=40))
def test_any_ids(ids):
    pieces = streamed(ids)
    assert "".join(pieces) == decode_text(TOKENIZER, ids)
    assert all(pieces)
