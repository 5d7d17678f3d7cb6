"""What counts as right."""

import math

import pytest

from rlivs.evaluation.scoring import chosen, is_right, summary, wilson, word_f1

CARS = ("a red car", "a car", "a man with a dog", "two men")


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("B", 1), ("b", 1), ("(C)", 2), ("D.", 3), ("(A) a red car", 0), ("A. a red car", 0), ("C: a man", 2),
        ("Answer: B", 1), ("The answer is (D).", 3), ("The correct option is C.", 2), ("**B**", 1),
        ("a man with a dog", 2), ("A man with a dog.", 2), ("It was two men", 3), ("I see a red car there", 0),
        ("Car", 1), ("E", None), ("", None), ("a cat", None), ("two men and a man with a dog", None),
        ("A thing.", None), ("carpets", None),
        ("The answer is: B", 1), ("The answer is **B**.", 1), ("**Answer:** B", 1), ("I choose B", 1),
        ("[B]", 1), ("'B'", 1), ("\u212a", None), ("\u0130", None),
    ],
)  # fmt: skip
def test_the_choice_that_is_named(text, index):
    assert chosen(text, CARS) == index


def test_right_answers():
    assert is_right("the red Car.", "A red car", ())
    assert not is_right("a red car moves", "a red car", ())
    assert is_right("(B)", "a car", CARS) and not is_right("A", "a car", CARS) and not is_right("?", "a car", CARS)


def test_word_f1():
    assert word_f1("A red car.", "the red car") == 1
    assert word_f1("red car left", "blue car") == pytest.approx(2 * 1 / 5)
    assert word_f1("red", "blue") == 0 and word_f1("", "blue") == 0 and word_f1("the", "a") == 1
    assert word_f1("car car", "car") == pytest.approx(2 / 3)  # a word counts as often as it is there


def test_wilson_holds_the_shares_that_would_not_be_rejected():
    for right, count in ((0, 6), (3, 6), (6, 6), (653, 1000)):
        low, high = wilson(right, count)
        share = right / count
        assert 0 <= low <= share <= high <= 1
        for bound in {low, high} - {0.0, 1.0}:  # the bounds are where the score test is just at its 5 %
            assert abs(share - bound) / math.sqrt(bound * (1 - bound) / count) == pytest.approx(1.959964)


def test_summary_by_way_and_kind():
    answers = [("memory", "b", True, None), ("memory", "a", False, 0.5), ("auto", "", True, 1.0)]
    scores = [(score.way, score.kind, score.questions, score.right, score.mean) for score in summary(answers)]
    assert scores == [
        ("auto", "all", 1, 100.0, 1.0),
        ("memory", "all", 2, 50.0, 0.5),
        ("memory", "a", 1, 0.0, 0.5),
        ("memory", "b", 1, 100.0, None),
    ]
