"""Which captions a question is answered from (arXiv 2510.17364, section 3.3)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice

import numpy as np

from rlivs.memory.store import Caption

CANDIDATES = 1000


def maximal_marginal_relevance(
    query: np.ndarray, embeddings: np.ndarray, *, lambda_: float = 0.5, limit: int
) -> list[int]:
    """Rows in the order `argmax_i  lambda_ <q, e_i> - (1 - lambda_) max_{j chosen} <e_j, e_i>`, at most `limit`.

    query: `[d]`, embeddings: `[n, d]`, both float and L2-normalised (then <,> is the cosine). Equal values: the lower
    index first. Only the 1,000 most relevant rows compete; the others follow by relevance. Raises ValueError for
    shapes that do not agree and lambda_ outside 0..1. Source: Carbonell and Goldstein, SIGIR 1998.
    """
    return list(islice(_by_marginal_relevance(query, embeddings, lambda_), limit))


def select_captions(
    captions: Sequence[Caption],
    embeddings: np.ndarray,
    query: np.ndarray,
    *,
    budget_tokens: int,
    lambda_: float = 0.5,
    first: Collection[int] = (),
) -> list[Caption]:
    """The captions to answer from, in the order given (chronological), of `budget_tokens` tokens at most.

    All of them if they fit. Else each in the order of maximal marginal relevance, unless it no longer fits: a long
    caption is passed over, shorter ones behind it may still be taken. Empty if not one fits. Those whose numbers are in
    `first`, such as `captions_around` gives, are taken before all others, in the same order among themselves.

    embeddings: `[len(captions), d]`, row by row those of `captions`; query: `[d]`; both L2-normalised.
    Raises ValueError for shapes that do not agree.
    """
    if len(captions) != len(embeddings):
        raise ValueError(f"{len(captions)} captions but {len(embeddings)} embeddings; give one for each")
    costs = [caption.num_tokens for caption in captions]
    if sum(costs) <= budget_tokens:
        return list(captions)
    left, cheapest = budget_tokens, min(costs)
    chosen = []
    rows = np.array(sorted(first), dtype=np.intp)
    before = (int(rows[i]) for i in _by_marginal_relevance(query, embeddings[rows], lambda_))
    others = (i for i in _by_marginal_relevance(query, embeddings, lambda_) if i not in first)
    for index in chain(before, others):
        if costs[index] <= left:
            chosen.append(index)
            left -= costs[index]
        if left < cheapest:
            break
    return [captions[index] for index in sorted(chosen)]


def captions_around(captions: Sequence[Caption], spans: Iterable[tuple[float, float]]) -> set[int]:
    """The numbers of the captions of these spans `[start, end)` in seconds, with the one before and the one after each.

    The neighbours are there for questions about what came before or after, and for spans without a caption, such as a
    gap of the stream. `captions` must be chronological.
    """
    found: set[int] = set()
    for start, end in spans:
        low = bisect_right(captions, start, key=lambda caption: caption.end)
        high = bisect_left(captions, end, key=lambda caption: caption.start)
        found.update(range(max(0, low - 1), min(len(captions), max(low, high) + 1)))
    return found


def _by_marginal_relevance(query: np.ndarray, embeddings: np.ndarray, lambda_: float) -> Iterator[int]:
    if len(embeddings) == 0:
        return
    if query.ndim != 1 or embeddings.ndim != 2 or embeddings.shape[1] != len(query):
        raise ValueError(f"query {list(query.shape)} and embeddings {list(embeddings.shape)} must be [d] and [n, d]")
    if not 0 <= lambda_ <= 1:
        raise ValueError(f"lambda_ is {lambda_}; give a number from 0 (novelty alone) to 1 (relevance alone)")
    relevance = _products(embeddings, query.astype(embeddings.dtype))
    ranked = np.argsort(-relevance, kind="stable")
    candidates = np.sort(ranked[:CANDIDATES])  # ascending, so that argmax takes the lower index of equals
    # float64: the order must not be decided by rounding.
    kinds, distinct = _distinct(np.concatenate([embeddings[candidates], query[None]]).astype(np.float64))
    products = distinct @ distinct.T
    kinds, query_kind = kinds[:-1], kinds[-1]
    score = gain = lambda_ * products[query_kind, kinds]
    nearest = np.full(len(candidates), -np.inf)
    for _ in range(len(candidates)):
        best = int(np.argmax(score))
        yield int(candidates[best])
        gain[best] = -np.inf
        np.maximum(nearest, products[kinds[best], kinds], out=nearest)
        score = gain - (1 - lambda_) * nearest
    yield from (int(index) for index in ranked[CANDIDATES:])


# Equal rows (a caption that comes twice, a question in a caption's words) must have equal products to the last bit, or
# ties are not seen as ties. BLAS adds up in another order at a matrix's edge, so it is given each row once; einsum
# takes every row in the same order.


def _products(rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return np.einsum("nd,d->n", rows, vector)


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The kind of each row, a number, and the distinct rows by kind."""
    known: dict[bytes, int] = {}
    kinds = np.array([known.setdefault(row.tobytes(), len(known)) for row in rows])
    _, first = np.unique(kinds, return_index=True)
    return kinds, rows[first]
