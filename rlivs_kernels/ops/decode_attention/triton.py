"""Scoring decode attention in Triton: two launches a step, on a grid that depends on shapes alone (CUDA graphs)."""

from dataclasses import replace

import torch
import triton
from torch import Tensor

from rlivs_kernels.ops.decode_attention import triton_kernels
from rlivs_kernels.ops.paging import number_of_keys
from rlivs_kernels.triton_launch import UNTILED, Tiles, chip_of, launch, logit_factors, query_limit
from rlivs_kernels.triton_pages import in_blocks

MAX_SPLITS = 128
COLUMNS_A_PROGRAM = 32
HEADS_A_STEP = 32

# By (as large as Hopper, bytes an element, padded head size); rows is how many heads of a group share a tile. Chosen so
# that the keys and values in flight on a multiprocessor, resident * stages * 2 * keys * D * bytes, cover the memory's
# latency.
SPLIT_TILES = {
    (True, 2, 64): Tiles(rows=16, keys=128, warps=4, stages=3, resident=2),
    (True, 2, 128): Tiles(rows=16, keys=64, warps=4, stages=3, resident=2),
    (True, 2, 256): Tiles(rows=16, keys=32, warps=4, stages=2, resident=2),
    (True, 4, 64): Tiles(rows=16, keys=32, warps=4, stages=2, resident=2),
    (True, 4, 128): Tiles(rows=16, keys=32, warps=4, stages=2, resident=2),
    (True, 4, 256): Tiles(rows=16, keys=32, warps=4, stages=1, resident=2, registers=255),
    (False, 2, 64): Tiles(rows=16, keys=128, warps=4, stages=2, resident=2),
    (False, 2, 128): Tiles(rows=16, keys=64, warps=4, stages=2, resident=2),
    (False, 2, 256): Tiles(rows=16, keys=32, warps=4, stages=2, resident=2),
    (False, 4, 64): Tiles(rows=16, keys=32, warps=4, stages=2, resident=2),
    (False, 4, 128): Tiles(rows=16, keys=32, warps=4, stages=2, resident=2),
    (False, 4, 256): Tiles(rows=16, keys=32, warps=4, stages=1, resident=2, registers=255),
}

COMBINING = replace(UNTILED, warps=8)


def limit(query: Tensor, key: Tensor, **options: object) -> str | None:
    """Why this backend cannot serve the call; None when it can."""
    return query_limit(query, options.get("softcap"))


def decode_attention_triton(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    key_lengths: Tensor,
    key_start: Tensor | None,
    column_start: Tensor | None,
    num_columns: int,
    column_sums: Tensor | None,
    block_table: Tensor | None,
    scale: float,
    softcap: float | None,
    sliding_window: int | None,
) -> tuple[Tensor, Tensor]:
    """Out [B, Hq, 1, D] in the inputs' dtype and lse fp32 [B, Hq]; adds to column_sums in place, without atomics."""
    batch, num_heads, _, head_dim = query.shape
    num_kv_heads, num_keys = key.shape[1], number_of_keys(key, block_table)
    group_size = num_heads // num_kv_heads
    chip = chip_of(query.device)
    block_d = max(16, triton.next_power_of_2(head_dim))
    tiles = SPLIT_TILES[chip.large, query.element_size(), max(64, block_d)]
    if block_table is not None:
        # Left to itself, the compiler spills: Triton 3.9's in float32, 3.7's at D = 256.
        tiles = replace(in_blocks(tiles), registers=tiles.registers or 168)
    head_tiles = num_kv_heads * triton.cdiv(group_size, tiles.rows)
    wanted = triton.cdiv(chip.multiprocessors * tiles.resident, batch * head_tiles)
    splits = max(1, min(wanted, triton.cdiv(num_keys, tiles.keys), MAX_SPLITS))

    out = torch.empty((batch, num_heads, 1, head_dim), dtype=query.dtype, device=query.device)
    lse = query.new_empty((batch, num_heads), dtype=torch.float32)
    mixed = query.new_empty((batch, num_heads, splits, head_dim), dtype=torch.float32)
    split_lse = query.new_empty((batch, splits, num_heads), dtype=torch.float32)
    scored = column_sums is not None
    logits = query.new_empty((batch, num_heads, num_columns), dtype=torch.float32) if scored else split_lse
    starts = key_lengths if key_start is None else key_start
    columns = key_lengths if column_start is None else column_start
    flags = {
        "HEAD_DIM": head_dim,
        "BLOCK_D": block_d,
        "KEY_START": key_start is not None,
        "WINDOW": sliding_window is not None,
        "SCORED": scored,
    }
    launch(
        triton_kernels.attend_split,
        (splits, head_tiles, batch),
        [
            query,
            key,
            value,
            key_lengths,
            starts,
            columns,
            key_lengths if block_table is None else block_table,
            mixed,
            split_lse,
            logits,
            query.stride(0),
            query.stride(1),
            query.stride(3),
            *key.stride(),
            *value.stride(),
            num_keys,
            num_columns,
            splits,
            0 if block_table is None else block_table.shape[1],
            key.shape[0],
            *logit_factors(scale, softcap),
            sliding_window or 0,
        ],
        {
            "GROUP": group_size,
            "BLOCK_G": tiles.rows,
            "BLOCK_KEYS": tiles.keys,
            "BLOCK_SIZE": 0 if block_table is None else key.shape[2],
            "SOFTCAP": softcap is not None,
            "FLOAT32": query.dtype == torch.float32,
            **flags,
        },
        tiles,
    )
    launch(
        triton_kernels.combine_splits,
        (num_heads + triton.cdiv(num_columns, COLUMNS_A_PROGRAM), batch),
        [
            mixed,
            split_lse,
            logits,
            key_lengths,
            starts,
            columns,
            out,
            lse,
            lse if column_sums is None else column_sums,
            column_sums.stride(0) if column_sums is not None else 0,
            num_heads,
            num_keys,
            num_columns,
            splits,
            sliding_window or 0,
        ],
        {
            "BLOCK_SPLITS": triton.next_power_of_2(splits),
            "BLOCK_HEADS": min(HEADS_A_STEP, max(16, triton.next_power_of_2(num_heads))),
            "BLOCK_COLUMNS": COLUMNS_A_PROGRAM,
            **flags,
        },
        COMBINING,
    )
    return out, lse
