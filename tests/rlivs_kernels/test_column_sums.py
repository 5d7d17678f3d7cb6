"""Attention column sums, every backend held to the same properties."""

from functools import partial

import kernel_checks
import pytest
import torch

from rlivs_kernels import attention_column_sums
from rlivs_kernels.ops.column_sums import torch as torch_backend


@pytest.mark.parametrize("check", kernel_checks.COLUMN_SUM_CHECKS, ids=lambda check: check.__name__)
def test_property(check, target):
    backend, device, dtype = target
    check(partial(attention_column_sums, backend=backend), device, dtype)


@pytest.mark.parametrize(
    ("heads", "rows", "keys", "dim"),
    [
        ((1, 1), 1, 1, 64),
        ((4, 2), 3, 37, 80),
        ((4, 1), 1, 65, 96),
        ((14, 2), 11, 131, 128),
        ((8, 1), 33, 64, 64),
        ((7, 1), 2, 15, 256),
    ],
)
def test_shapes(target, heads, rows, keys, dim):
    backend, device, dtype = target
    kernel_checks.serves_group(partial(attention_column_sums, backend=backend), device, dtype, heads, rows, keys, dim)


@pytest.mark.parametrize("dim", [48, 33])
def test_other_head_sizes_on_a_cpu(dim):
    op = partial(attention_column_sums, backend="torch")
    kernel_checks.serves_group(op, "cpu", torch.float32, (4, 2), 5, 50, dim)


@pytest.mark.parametrize("check", [kernel_checks.softcap_and_window, kernel_checks.layers_are_averaged])
def test_the_torch_backend_in_many_small_tiles(monkeypatch, check):
    monkeypatch.setattr(torch_backend, "SCORE_TILE_BYTES", 4096)
    monkeypatch.setattr(torch_backend, "KEY_TILE_BYTES", 4096)
    check(partial(attention_column_sums, backend="torch"), "cpu", torch.float16)


def test_the_torch_backend_holds_one_tile(monkeypatch):
    """No tensor beyond the tile's bound, but for the result and a row's own scores."""
    limit, seen = 64 * 1024, []
    monkeypatch.setattr(torch_backend, "SCORE_TILE_BYTES", limit)
    scores = torch_backend._scores

    def observed(*arguments):
        tile = scores(*arguments)
        seen.append(tile.numel() * tile.element_size())
        return tile

    monkeypatch.setattr(torch_backend, "_scores", observed)
    query, key = kernel_checks.tensors("cpu", torch.float32, heads=(4, 2), rows=64, keys=600)
    attention_column_sums(query[0], key[0], column_range=(0, 500), query_start=530, backend="torch")
    assert len(seen) > 8 and max(seen) <= limit


def test_a_given_lse_skips_the_tiles_outside_the_range(monkeypatch):
    widths = []
    scores = torch_backend._scores

    def observed(query, key, *rest):
        widths.append(key.shape[0])
        return scores(query, key, *rest)

    monkeypatch.setattr(torch_backend, "_scores", observed)
    query, key = kernel_checks.tensors("cpu", torch.float32)
    lse = kernel_checks.natural_lse(query[0], key[0], kernel_checks.tensor([140, 140], "cpu"))
    attention_column_sums(query[0], key[0], column_range=(30, 50), query_start=140, lse=lse, backend="torch")
    assert set(widths) == {20}
