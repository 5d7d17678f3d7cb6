"""Maximal marginal relevance against the plain double loop; captions within a budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlivs.memory import retrieval
from rlivs.memory.retrieval import captions_around, maximal_marginal_relevance, select_captions
from rlivs.memory.store import Caption


def double_loop(query: np.ndarray, embeddings: np.ndarray, lambda_: float, limit: int) -> list[int]:
    """The definition, one pair at a time, in Python's floats."""
    rows = [[float(value) for value in row] for row in embeddings]

    def product(a, b) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    relevance = [product(query.tolist(), row) for row in rows]
    chosen: list[int] = []
    while len(chosen) < min(limit, len(rows)):
        best, best_score = -1, -np.inf
        for index in range(len(rows)):
            if index in chosen:
                continue
            nearest = max((product(rows[index], rows[other]) for other in chosen), default=0.0)
            score = lambda_ * relevance[index] - (1 - lambda_) * nearest
            if score > best_score:
                best, best_score = index, score
        chosen.append(best)
    return chosen


def unit_rows(seed: int, count: int, dim: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(2, 9), st.sampled_from([0.1, 0.3, 0.5, 0.8]), st.data())
def test_the_order_of_the_double_loop_with_repeated_captions(seed, distinct, dim, lambda_, data):
    rows = unit_rows(seed, distinct + 1, dim)
    query, rows = rows[0], rows[1:]
    if data.draw(st.booleans()):
        query = rows[0]  # the question is in a caption's very words
    copies = data.draw(st.lists(st.integers(0, distinct - 1), min_size=1, max_size=40))
    embeddings = rows[copies]
    limit = data.draw(st.integers(0, len(embeddings) + 2))
    expected = double_loop(query, embeddings, lambda_, limit)
    assert maximal_marginal_relevance(query, embeddings, lambda_=lambda_, limit=limit) == expected


small = st.integers(-4, 4).map(lambda n: n / 4)


@given(
    st.integers(1, 5).flatmap(
        lambda dim: st.tuples(
            st.lists(small, min_size=dim, max_size=dim),
            st.lists(st.lists(small, min_size=dim, max_size=dim), min_size=1, max_size=30),
        )
    ),
    st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
)
def test_every_tie_goes_to_the_lower_index(vectors, lambda_):
    """Multiples of 1/4: every product and score is exact, and ties abound."""
    query, embeddings = np.array(vectors[0], np.float32), np.array(vectors[1], np.float32)
    order = maximal_marginal_relevance(query, embeddings, lambda_=lambda_, limit=len(embeddings))
    assert order == double_loop(query, embeddings, lambda_, len(embeddings))


@given(st.integers(0, 10**6))
def test_only_the_most_relevant_compete(seed):
    """With room for 10 candidates: the double loop's order among them, then the rest by relevance."""
    rows = unit_rows(seed, 41, 6)
    query, embeddings = rows[0], rows[1:]
    by_relevance = np.argsort(-(embeddings @ query), kind="stable")
    best = np.sort(by_relevance[:10])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "CANDIDATES", 10)
        order = maximal_marginal_relevance(query, embeddings, limit=40)
    assert order[:10] == [int(best[index]) for index in double_loop(query, embeddings[best], 0.5, 10)]
    assert order[10:] == by_relevance[10:].tolist()


def test_a_hundred_thousand_captions():
    rows = unit_rows(0, 100_000, 32)
    query = rows[77]
    order = maximal_marginal_relevance(query, rows, limit=50)
    best = np.sort(np.argsort(-(rows @ query), kind="stable")[: retrieval.CANDIDATES])
    assert order[0] == 77
    assert len(set(order)) == 50 and set(order) <= set(best.tolist())
    assert order[:6] == [int(best[index]) for index in double_loop(query, rows[best], 0.5, 6)]


def test_nothing_to_choose_from():
    assert maximal_marginal_relevance(np.ones(3), np.empty((0, 3)), limit=5) == []
    assert maximal_marginal_relevance(np.ones(3), np.empty((0, 0)), limit=5) == []
    assert select_captions([], np.empty((0, 0)), np.ones(3), budget_tokens=10) == []


def captions_costing(costs: list[int]) -> list[Caption]:
    return [Caption("a", index, index, index + 1, str(index), cost, ()) for index, cost in enumerate(costs)]


@given(st.integers(0, 10**6), st.lists(st.integers(1, 20), min_size=1, max_size=25), st.integers(0, 200))
def test_captions_within_the_budget(seed, costs, budget):
    rows = unit_rows(seed, len(costs) + 1, 5)
    query, embeddings = rows[0], rows[1:]
    captions = captions_costing(costs)
    selected = select_captions(captions, embeddings, query, budget_tokens=budget)
    if sum(costs) <= budget:
        assert selected == captions
        return
    left, expected = budget, []
    for index in double_loop(query, embeddings, 0.5, len(costs)):
        if costs[index] <= left:
            expected.append(index)
            left -= costs[index]
    assert [caption.index for caption in selected] == sorted(expected)


def test_a_caption_too_long_is_passed_over():
    captions = captions_costing([50, 4, 4, 4])
    embeddings = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], np.float32)
    chosen = select_captions(captions, embeddings, embeddings[0], budget_tokens=9, lambda_=1.0)
    assert [caption.index for caption in chosen] == [1, 2]


def test_those_that_come_first_leave_the_rest_in_order():
    captions = captions_costing([4, 4, 4, 4, 4])
    embeddings = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0.28, 0.96], [0, 1]], np.float32)

    def chosen(budget: int, first: list[int]) -> list[int]:
        found = select_captions(captions, embeddings, embeddings[0], budget_tokens=budget, lambda_=1.0, first=first)
        return [caption.index for caption in found]

    assert chosen(8, []) == [0, 1]
    assert chosen(8, [4]) == [0, 4]
    assert chosen(8, [3, 4, 2]) == [2, 3]
    assert chosen(16, [4, 3]) == [0, 1, 3, 4]
    assert chosen(4, [0, 1]) == [0]


def test_captions_around_a_span():
    captions = [Caption("a", i, start, start + 8.0, "", 1, ()) for i, start in enumerate((0.0, 8.0, 16.0, 40.0, 48.0))]
    assert captions_around(captions, []) == set()
    assert captions_around(captions, [(8, 9)]) == {0, 1, 2}
    assert captions_around(captions, [(15.5, 16.5)]) == {0, 1, 2, 3}
    assert captions_around(captions, [(30, 31)]) == {2, 3}, "in a gap: what lies on both sides"
    assert captions_around(captions, [(500, 501)]) == {4}
    assert captions_around(captions, [(-90, -60)]) == {0}
    assert captions_around(captions, [(0, 1), (48, 49)]) == {0, 1, 3, 4}
    assert captions_around([], [(0, 1)]) == set()


def test_no_budget_no_captions():
    assert select_captions(captions_costing([5, 5]), np.eye(2), np.ones(2), budget_tokens=4) == []


def test_wrong_shapes_and_weights():
    with pytest.raises(ValueError, match=r"\[d\] and \[n, d\]"):
        maximal_marginal_relevance(np.ones(3), np.ones((2, 4)), limit=1)
    with pytest.raises(ValueError, match=r"0 \(novelty alone\) to 1"):
        maximal_marginal_relevance(np.ones(3), np.ones((2, 3)), lambda_=1.5, limit=1)
    with pytest.raises(ValueError, match="2 captions but 3 embeddings"):
        select_captions(captions_costing([1, 1]), np.eye(3), np.ones(3), budget_tokens=1)
