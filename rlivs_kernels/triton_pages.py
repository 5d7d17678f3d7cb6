# mypy: ignore-errors
"""Where the keys of a cache in blocks lie (rlivs_kernels/ops/paging.py)."""

from dataclasses import replace

import triton
import triton.language as tl

from rlivs_kernels.triton_launch import Tiles


def in_blocks(tiles: Tiles) -> Tiles:
    """Tiles of a loop over such keys, with as many under way as `tiles` has of others: Triton's pipeline gives half of
    its stages to the block numbers, which must be there before a tile can be fetched."""
    return replace(tiles, stages=2 * tiles.stages - 1)


@triton.jit
def key_offsets(key, valid, table, num_blocks, block_stride, row_stride, BLOCK_SIZE: tl.constexpr):
    """Offsets (int64) of the rows of `key` [N] within the cache; `table` points at the batch row's block numbers."""
    block = tl.load(table + key // BLOCK_SIZE, mask=valid, other=0)
    block = tl.minimum(tl.maximum(block, 0), num_blocks - 1)
    return block.to(tl.int64) * block_stride + key % BLOCK_SIZE * row_stride
