"""Caches in blocks, as serving engines keep them: key j of batch row b is row j % block_size of block
block_table[b, j // block_size] (PagedAttention, arXiv 2309.06180, section 4.1).

A number in the table that is no block's is read as the nearest that is: what a table holds beyond a sequence's keys
costs nothing and can do no harm.
"""

import torch
from torch import Tensor


def number_of_keys(cache: Tensor, block_table: Tensor | None) -> int:
    """Keys a batch row has room for: cache [B, Hkv, S, D], or [num_blocks, Hkv, block_size, D] with a table [B, M]."""
    return cache.shape[2] if block_table is None else block_table.shape[1] * cache.shape[2]


def checked_table(block_table: Tensor | None, batch: int, device: torch.device) -> Tensor | None:
    """The table as int32 [B, M], contiguous, on `device`. Raises ValueError where it is none."""
    if block_table is None:
        return None
    integers = (torch.int32, torch.int64, torch.int16, torch.uint8, torch.int8)
    if not isinstance(block_table, Tensor) or block_table.dtype not in integers:
        given = block_table.dtype if isinstance(block_table, Tensor) else type(block_table).__name__
        raise ValueError(f"block_table is {given}; pass an int32 tensor [B, M] of block numbers")
    if block_table.dim() != 2 or block_table.shape[0] != batch or block_table.shape[1] == 0:
        raise ValueError(f"block_table is {list(block_table.shape)}; pass [B, M] with B = {batch} and M at least 1")
    return block_table.to(device=device, dtype=torch.int32).contiguous()


def gathered(cache: Tensor, block_table: Tensor | None) -> Tensor:
    """The cache as [B, Hkv, S, D]: itself, or a copy of all its blocks in the table's order."""
    if block_table is None:
        return cache
    blocks = cache[block_table.clamp(0, cache.shape[0] - 1).long()]  # [B, M, Hkv, block_size, D]
    return blocks.transpose(1, 2).flatten(2, 3)


def rows_of(cache: Tensor, block_table: Tensor | None, batch_row: int, low: int, high: int) -> Tensor:
    """Keys low..high of a batch row, [Hkv, high - low, D]: a view, or a copy of the blocks that hold them."""
    if block_table is None:
        return cache[batch_row, :, low:high]
    size = cache.shape[2]
    first = low // size
    blocks = block_table[batch_row, first : -(-high // size)].clamp(0, cache.shape[0] - 1).long()
    return cache[blocks].transpose(0, 1).flatten(1, 2)[:, low - first * size : high - first * size]
