"""What scoring allocates: the rows of the prompt's end and the caption, never an attention matrix."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rlivs.scoring import patch

PROMPT, COLUMNS, NEW = 2000, slice(20, 1950), 16


class LargestTensor(TorchDispatchMode):
    """Bytes of the largest storage that any operation returned."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.bytes = max(self.bytes, leaf.untyped_storage().nbytes())
        return out


@pytest.fixture
def pair(twins):
    heads = {"num_attention_heads": 14, "num_key_value_heads": 2, "hidden_size": 112}
    return twins("qwen2", num_hidden_layers=2, max_position_embeddings=4096, **heads)


def generate(pair, ids):
    with LargestTensor() as largest:
        out = pair.model.generate(ids, max_new_tokens=NEW, do_sample=False)
    return out, largest.bytes


def test_no_tensor_of_attention_size(pair, make_words):
    ids = make_words(1, PROMPT)
    _, plain = generate(pair, ids)
    with patch(pair.model, layers="all") as handle:
        with handle.clip(COLUMNS):
            out, watched = generate(pair, ids)
        with LargestTensor() as largest:
            handle.scores(out)
    # While generating, nothing larger than the model makes by itself: a row of its hidden states a prompt position.
    assert watched == plain
    # Afterwards, less than the attention of the caption's rows in one layer.
    assert largest.bytes < 14 * NEW * (PROMPT + NEW) * 4


def test_only_the_rows_that_may_count_are_kept(pair, make_words):
    ids = make_words(1, PROMPT)
    with patch(pair.model) as handle, handle.clip(COLUMNS):
        generate(pair, ids)
        for recorder in handle._recorders:
            kept = recorder.stash._rows.shape[2]
            assert PROMPT - 1950 + NEW <= kept <= 4 * (PROMPT - 1950 + NEW)
