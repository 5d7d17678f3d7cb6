"""Captions say everything, once, in one order."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from benchmarks.quality.world import grammar, questions, scenes
from benchmarks.quality.world.grammar import COLOURS, MOTIONS, SHAPES, Thing


def test_every_single_caption_parses_back():
    for parts in product(COLOURS, SHAPES, MOTIONS):
        things = (Thing(*parts),)
        assert grammar.parse(grammar.caption(things)) == things


def test_two_things_are_told_in_the_colours_order():
    for first, second in combinations(COLOURS, 2):
        a, b = Thing(first, "star", "moves up"), Thing(second, "circle", "stays still")
        assert grammar.caption((b, a)) == grammar.caption((a, b))
        assert grammar.parse(grammar.caption((b, a))) == (a, b)


def test_the_form_of_a_caption():
    things = (Thing("blue", "square", "stays still"), Thing("orange", "circle", "moves right"))
    assert grammar.caption(things) == "an orange circle moves right and a blue square stays still."


@pytest.mark.parametrize("text", ["", "a red circle moves right", "a blue star stays still and a red circle moves up."])
def test_what_is_no_caption_is_refused(text):
    with pytest.raises(ValueError, match="not a caption"):
        grammar.parse(text)


def test_questions_have_the_answer_that_a_reader_of_the_lines_would_give():
    """Answers found again by brute force over the lines' text."""
    for seed in range(200):
        rng = np.random.default_rng((17, seed))
        lines = questions.sample_lines(rng, int(rng.integers(1, 12)), scenes.sample_things)
        texts = [line.text for line in lines]
        for kind in questions.KINDS:
            question = questions.sample_question(rng, lines, kind)
            if question is None:
                continue
            words = question.text.rstrip("?").split()
            if kind == "at":
                minutes, seconds = words[-1].split(":")
                starts = [line.start for line in lines]
                assert texts[starts.index(60 * int(minutes) + int(seconds))] == question.answer
                assert len(set(starts)) == len(starts)
            elif kind == "did":
                name = " ".join(words[2:4])
                assert question.answer == ("yes." if any(name in text for text in texts) else "no.")
            elif kind == "colour":
                told = [text for text in texts if words[-1] in text]
                assert len(told) == 1 and f"{question.answer[:-1]} {words[-1]}" in told[0]
            else:
                name = " ".join(words[3:5] if kind == "when" else words[4:6])
                (index,) = [i for i, text in enumerate(texts) if name in text]
                if kind == "after":
                    assert question.answer == texts[index + 1]
                else:
                    start = int(lines[index].start)
                    assert question.answer == f"at {start // 60}:{start % 60:02d}."
