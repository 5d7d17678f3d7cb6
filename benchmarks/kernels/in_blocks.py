"""The compared inputs in blocks, as serving engines keep their caches."""

import torch
from torch import Tensor

BLOCK_SIZE = 16


def in_blocks(caches: list[Tensor], size: int = BLOCK_SIZE) -> tuple[list[Tensor], Tensor]:
    """Caches [B, Hkv, S, D] as blocks [num_blocks, Hkv, size, D], views of [num_blocks, size, Hkv, D], in an order that
    is not the keys', and their table [B, M]."""
    batch, heads, keys, dim = caches[0].shape
    a_row = -(-keys // size)
    generator = torch.Generator().manual_seed(0)
    table = torch.randperm(batch * a_row, generator=generator).to(caches[0].device)
    blocks = []
    for cache in caches:
        padded = torch.nn.functional.pad(cache, (0, 0, 0, a_row * size - keys))
        one = torch.empty(batch * a_row, size, heads, dim, dtype=cache.dtype, device=cache.device)
        one[table] = padded.unflatten(2, (a_row, size)).permute(0, 2, 3, 1, 4).flatten(0, 1)
        blocks.append(one.transpose(1, 2))
    return blocks, table.view(batch, a_row).int()
