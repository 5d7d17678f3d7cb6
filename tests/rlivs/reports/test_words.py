import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlivs.reports.words import differing_pieces, novelty, same_words


@pytest.mark.parametrize(
    ("text", "expected", "same"),
    [
        ("A red circle.", "a red circle", True),
        ("a red  circle\n", "a red circle", True),
        ("a red circle", "a circle red", False),
        ("a red circle", "a red circle moves", False),
        ("", "", True),
    ],
)
def test_same_words_ignores_case_and_punctuation_only(text, expected, same):
    assert same_words(text, expected) is same


def test_novelty_is_the_share_of_words_the_previous_caption_lacks():
    assert novelty("a red circle moves", None) == 1
    assert novelty("a red circle moves", "A red circle moves.") == 0
    assert novelty("a blue circle moves", "a red circle moves") == 0.25
    assert novelty("", "a red circle") == 0


def test_differing_pieces_point_at_the_missing_word():
    assert differing_pieces("a red circle moves left", "a red square moves left") == [
        ("a red ", False),
        ("square", True),
        (" moves left", False),
    ]


@settings(deadline=None)
@given(st.text(), st.text())
def test_differing_pieces_join_to_the_expected_text(text, expected):
    pieces = differing_pieces(text, expected)
    assert "".join(piece for piece, _ in pieces) == expected
    assert not any(lacking for _, lacking in differing_pieces(expected, expected))
