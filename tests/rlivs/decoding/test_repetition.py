"""When a text counts as looping, and what is kept of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlivs.decoding import RepetitionGuard


def feed(guard, ids):
    """How many ids were taken before the guard spoke up; None if it never did."""
    guard.start()
    return next((count for count, token in enumerate(ids, 1) if guard.add(token)), None)


@pytest.mark.parametrize("unit", [1, 2, 5, 8, 20, 64])
def test_a_unit_in_a_row_is_noticed_and_kept_once(unit):
    guard = RepetitionGuard(repeats=4, longest_unit=64, min_tokens=32)
    start = [1000, 1001, 1002]
    taken = feed(guard, start + list(range(unit)) * 100)
    assert guard.looped
    assert taken - len(start) == max(32, 4 * unit)
    assert guard.kept == len(start) + unit


def test_longer_units_and_fewer_repeats_are_no_loop():
    guard = RepetitionGuard(repeats=4, longest_unit=8, min_tokens=8)
    assert feed(guard, list(range(9)) * 20) is None
    assert feed(guard, [1, 2, 3, 4, 5] * 3 + [6]) is None
    assert not guard.looped


def test_ordinary_sentences_are_no_loop():
    text = "the red disc moves left . the blue disc moves right . the red disc moves up . it stops ."
    guard = RepetitionGuard()
    assert feed(guard, [hash(word) for word in text.split()] * 2) is None


def test_starting_anew_forgets_the_last_text():
    guard = RepetitionGuard(repeats=2, min_tokens=4)
    assert feed(guard, [1, 1, 1, 1]) == 4
    assert feed(guard, [1, 1, 1]) is None
    assert not guard.looped


@given(st.lists(st.integers(0, 2), max_size=60), st.integers(2, 4), st.integers(1, 6), st.integers(1, 16))
def test_agrees_with_looking_at_every_end(ids, repeats, longest_unit, min_tokens):
    def loops(text):
        for unit in range(1, longest_unit + 1):
            run = unit
            while run < len(text) and text[-1 - run] == text[-1 - run + unit]:
                run += 1
            if run >= repeats * unit and run >= min_tokens and run <= len(text):
                return len(text) - run + unit
        return None

    expected = next(((n, loops(ids[:n])) for n in range(1, len(ids) + 1) if loops(ids[:n])), (None, None))
    guard = RepetitionGuard(repeats, longest_unit, min_tokens)
    assert feed(guard, ids) == expected[0]
    assert expected[0] is None or guard.kept == expected[1]
