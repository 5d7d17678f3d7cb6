"""Which tokens are kept."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlivs_kernels import select_top_tokens

LEVELS = st.sampled_from([0.0, 0.25, 0.5, 1.0, -torch.inf, torch.nan])


def test_indices_are_ascending_int64_per_row():
    picked = select_top_tokens(torch.tensor([[0.1, 0.9, 0.5, 0.8], [4.0, 3.0, 2.0, 1.0]]), 2)
    assert picked.dtype == torch.int64
    assert picked.tolist() == [[1, 3], [0, 1]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_of_equal_scores_the_lower_index_wins(dtype):
    scores = torch.tensor([[1, 2, 2, 1, 2, 2, 1]], dtype=dtype).repeat(1, 200)
    picked = select_top_tokens(scores, 100)
    assert picked.tolist() == [[i for i in range(1400) if scores[0, i] == 2][:100]]


def test_nan_is_taken_last():
    scores = torch.tensor([[torch.nan, 1.0, torch.nan, 0.0]])
    assert select_top_tokens(scores, 2).tolist() == [[1, 3]]
    assert select_top_tokens(scores, 3).tolist() == [[0, 1, 3]]


@given(st.lists(LEVELS, min_size=1, max_size=40), st.data())
def test_as_a_sorted_list_would_choose(values, data):
    k = data.draw(st.integers(1, len(values)))
    rank = sorted(range(len(values)), key=lambda i: (-(values[i] if values[i] == values[i] else -torch.inf), i))
    assert select_top_tokens(torch.tensor([values]), k).tolist() == [sorted(rank[:k])]


@pytest.mark.parametrize("k", [0, -1, 5])
def test_k_outside_the_columns_is_refused(k):
    with pytest.raises(ValueError, match="choose 1 <= k <= 4") as caught:
        select_top_tokens(torch.zeros(1, 4), k)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scores", [torch.zeros(4), torch.zeros(1, 4, dtype=torch.int64)])
def test_scores_of_another_kind_are_refused(scores):
    with pytest.raises(ValueError, match="floating tensor"):
        select_top_tokens(scores, 1)
