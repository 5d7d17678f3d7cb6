"""The visual memory forgets the oldest, and its bytes are exact."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlivs.errors import InputError
from rlivs.memory.visual import SelectedTokens, VisualMemory


def tokens(index: int, k: int = 3, hidden: int = 5) -> SelectedTokens:
    generator = torch.Generator().manual_seed(index)
    return SelectedTokens(index, torch.randn(k, hidden, generator=generator), torch.arange(k))


@given(st.integers(0, 5), st.integers(0, 12))
def test_the_last_slots_oldest_first(slots, pushed):
    memory = VisualMemory(slots)
    everything = [tokens(index) for index in range(pushed)]
    for each in everything:
        memory.push(each)
    kept = everything[max(0, pushed - slots) :]
    assert memory.slots == tuple(kept)
    if kept:
        assert torch.equal(memory.embeddings(), torch.cat([each.embeddings for each in kept]))
    else:
        assert memory.embeddings() is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_bytes_are_exact(dtype):
    bits = torch.randint(0, 256, (7, 6 * dtype.itemsize), dtype=torch.uint8)  # any bits: NaNs and denormals too
    embeddings = bits.view(dtype)
    extras = {"deepstack": torch.randn(7, 3, 6).to(dtype), "frame": torch.arange(7, dtype=torch.int32)}
    made = SelectedTokens(41, embeddings, torch.tensor([0, 2, 3, 11, 12, 99, 3135]), extras)
    back = VisualMemory.from_bytes(VisualMemory.to_bytes(made))
    assert back.clip_index == 41
    assert back.embeddings.dtype == dtype
    assert torch.equal(back.embeddings.view(torch.uint8), bits)
    assert torch.equal(back.indices, made.indices) and back.indices.dtype == torch.int64
    assert back.extras.keys() == extras.keys()
    assert all(torch.equal(back.extras[name], extras[name]) for name in extras)
    assert VisualMemory.to_bytes(back) == VisualMemory.to_bytes(made)


def test_views_and_shared_storage():
    clip = torch.randn(50, 8)
    made = SelectedTokens(0, clip[::10, ::2], torch.arange(5), {"a": clip[:5], "b": clip[:5], "t": clip.T[:5]})
    data = VisualMemory.to_bytes(made)
    back = VisualMemory.from_bytes(data)
    assert torch.equal(back.embeddings, clip[::10, ::2])
    assert torch.equal(back.extras["b"], clip[:5]) and torch.equal(back.extras["t"], clip.T[:5])


def test_a_tensor_that_is_being_trained():
    made = SelectedTokens(0, torch.randn(2, 2, requires_grad=True), torch.arange(2))
    assert not VisualMemory.from_bytes(VisualMemory.to_bytes(made)).embeddings.requires_grad


@pytest.mark.parametrize("damage", ["empty", "short", "text", "other tensors"])
def test_damaged_bytes(damage):
    import safetensors.torch

    data = VisualMemory.to_bytes(tokens(0))
    wrong = {
        "empty": b"",
        "short": data[:-7],
        "text": b"not safetensors at all",
        "other tensors": safetensors.torch.save({"weight": torch.zeros(2)}),
    }[damage]
    with pytest.raises(InputError, match="damaged"):
        VisualMemory.from_bytes(wrong)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\[k, hidden\]"):
        SelectedTokens(0, torch.zeros(3), torch.arange(3))
    with pytest.raises(ValueError, match="one for each embedding"):
        SelectedTokens(0, torch.zeros(3, 2), torch.arange(4))
    with pytest.raises(ValueError, match="int64"):
        SelectedTokens(0, torch.zeros(3, 2), torch.arange(3, dtype=torch.int32))
    with pytest.raises(ValueError, match="3 rows"):
        SelectedTokens(0, torch.zeros(3, 2), torch.arange(3), {"deepstack": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match="0 or more"):
        VisualMemory(-1)
