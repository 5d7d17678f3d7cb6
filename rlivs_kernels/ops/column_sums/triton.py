"""Attention column sums in Triton: block sizes for each chip, splits for each shape, four launches a call.

Launches: row normalisers (pass A) and their merge where pass A is split over keys, or the packing of an lse that the
caller gives; column sums (pass B) and a reduction of its parts. Up to four layers share a launch: one costs the host
about 9 us.
"""

from dataclasses import replace

import torch
import triton
from torch import Tensor

from rlivs_kernels.ops.column_sums import triton_kernels
from rlivs_kernels.ops.paging import number_of_keys
from rlivs_kernels.triton_launch import MAX_GRID, Tiles, chip_of, launch, logit_factors, query_limit, splits_for
from rlivs_kernels.triton_pages import in_blocks

LAYERS_A_LAUNCH = 4
MAX_SPLITS = 16

# By (as large as Hopper, bytes an element, padded head size): tiles chosen from floors and compile reports, see
# benchmarks/kernels/NOTES.md; no GPU has timed them yet. Pass A holds query rows and streams keys, pass B the reverse.
NORMALISER_TILES = {
    (True, 2, 64): Tiles(rows=256, keys=64, warps=8, stages=3, resident=2, registers=128),
    (True, 2, 128): Tiles(rows=256, keys=64, warps=8, stages=3, resident=2, registers=128),
    (True, 2, 256): Tiles(rows=128, keys=64, warps=8, stages=2, resident=1),
    (True, 4, 64): Tiles(rows=32, keys=32, warps=4, stages=2, resident=4, registers=128),
    (True, 4, 128): Tiles(rows=32, keys=32, warps=4, stages=2, resident=4, registers=128),
    (True, 4, 256): Tiles(rows=32, keys=32, warps=4, stages=1, resident=4, registers=128),
    (False, 2, 64): Tiles(rows=128, keys=64, warps=8, stages=3, resident=2, registers=128),
    (False, 2, 128): Tiles(rows=128, keys=64, warps=8, stages=2, resident=2, registers=128),
    (False, 2, 256): Tiles(rows=128, keys=32, warps=8, stages=2, resident=1),
    (False, 4, 64): Tiles(rows=32, keys=32, warps=4, stages=2, resident=4, registers=128),
    (False, 4, 128): Tiles(rows=32, keys=32, warps=4, stages=2, resident=4, registers=128),
    (False, 4, 256): Tiles(rows=32, keys=32, warps=4, stages=1, resident=4, registers=128),
}
COLUMN_TILES = {
    (True, 2, 64): Tiles(rows=64, keys=128, warps=8, stages=3, resident=2, registers=128),
    (True, 2, 128): Tiles(rows=64, keys=256, warps=8, stages=3, resident=2, registers=128),
    (True, 2, 256): Tiles(rows=64, keys=128, warps=8, stages=2, resident=1),
    (True, 4, 64): Tiles(rows=32, keys=32, warps=4, stages=2, resident=4, registers=128),
    (True, 4, 128): Tiles(rows=32, keys=32, warps=4, stages=2, resident=4, registers=128),
    (True, 4, 256): Tiles(rows=32, keys=32, warps=4, stages=1, resident=4, registers=128),
    (False, 2, 64): Tiles(rows=64, keys=128, warps=8, stages=3, resident=2, registers=128),
    (False, 2, 128): Tiles(rows=32, keys=128, warps=4, stages=2, resident=3, registers=168),
    (False, 2, 256): Tiles(rows=32, keys=128, warps=8, stages=2, resident=1),
    (False, 4, 64): Tiles(rows=32, keys=32, warps=4, stages=2, resident=4, registers=128),
    (False, 4, 128): Tiles(rows=32, keys=32, warps=4, stages=2, resident=4, registers=128),
    (False, 4, 256): Tiles(rows=32, keys=32, warps=4, stages=1, resident=4, registers=128),
}
# Row masks, softcaps, windows, maxima and heads kept apart take registers that the wide tiles do not have.
NARROW_COLUMN_TILES = {
    **COLUMN_TILES,
    (True, 2, 64): Tiles(rows=64, keys=128, warps=4, stages=3, resident=2),
    (True, 2, 128): Tiles(rows=64, keys=128, warps=4, stages=3, resident=2),
    (False, 2, 64): Tiles(rows=64, keys=128, warps=8, stages=3, resident=1),
    (False, 2, 128): Tiles(rows=64, keys=128, warps=8, stages=2, resident=1),
}


def limit(query: Tensor, key: Tensor, **options: object) -> str | None:
    """Why this backend cannot serve the call; None when it can."""
    # Layers that share a launch lie along one axis with the batch rows, and so do KV heads where an lse is given.
    beside = LAYERS_A_LAUNCH if options.get("lse") is None else max(LAYERS_A_LAUNCH, key.shape[1])
    return query_limit(query, options.get("softcap"), MAX_GRID // beside)


def attention_column_sums_triton(
    queries: list[Tensor],
    keys: list[Tensor],
    *,
    column_start: Tensor,
    num_columns: int,
    query_start: Tensor,
    key_start: Tensor | None,
    lse: list[Tensor] | None,
    row_mask: Tensor | None,
    block_table: Tensor | None,
    scale: float,
    softcap: float | None,
    sliding_window: int | None,
    reduction: str,
    per_head: bool,
) -> Tensor:
    """Fp32 [B, N], or [B, Hq, N] per head; the same bits from run to run: no atomics, fixed orders."""
    query, key = queries[0], keys[0]
    batch, num_heads, num_rows, head_dim = query.shape
    num_kv_heads, num_keys = key.shape[1], number_of_keys(key, block_table)
    group_size = num_heads // num_kv_heads
    chip = chip_of(query.device)
    block_d = max(16, triton.next_power_of_2(head_dim))
    kind = (chip.large, query.element_size(), max(64, block_d))
    common = {
        "HEAD_DIM": head_dim,
        "BLOCK_D": block_d,
        "BLOCK_SIZE": 0 if block_table is None else key.shape[2],
        "KEY_START": key_start is not None,
        "SOFTCAP": softcap is not None,
        "WINDOW": sliding_window is not None,
        "FLOAT32": query.dtype == torch.float32,
    }
    ranges = [*logit_factors(scale, softcap), sliding_window or 0]
    table = query_start if block_table is None else block_table
    blocks = [0 if block_table is None else block_table.shape[1], key.shape[0]]
    mask = query_start if row_mask is None else row_mask.contiguous().view(torch.uint8)
    chunks = _chunks(queries, keys)

    plain = row_mask is None and softcap is None and sliding_window is None and reduction != "max"
    tiles = (COLUMN_TILES if plain and not per_head else NARROW_COLUMN_TILES)[kind]
    # Pass B fetches normalisers by whole tiles of rows, unmasked.
    lse_rows = triton.cdiv(num_rows * group_size, tiles.rows) * tiles.rows
    if lse is None:
        starts = [query_start, query_start if key_start is None else key_start, table]
        sizes = [num_rows, lse_rows, num_keys]
        normaliser_tiles = NORMALISER_TILES[kind]
        if block_table is not None:
            normaliser_tiles = in_blocks(normaliser_tiles)
            if query.element_size() == 2 and (key_start is not None or softcap is not None or sliding_window):
                normaliser_tiles = replace(normaliser_tiles, registers=168, resident=1)  # at 128 they spill
        normalisers = _normalisers(chunks, starts, sizes, [*blocks, *ranges], normaliser_tiles, common)
    else:
        normalisers = _packed(lse, num_kv_heads, lse_rows)

    packs = num_heads if per_head else num_kv_heads
    pack_size = num_heads // packs
    column_tiles = triton.cdiv(num_columns, tiles.keys)
    programs = column_tiles * packs * batch * min(len(queries), LAYERS_A_LAUNCH)
    row_steps = triton.cdiv(num_rows * pack_size, tiles.rows)
    splits = splits_for(programs, row_steps, chip.multiprocessors * tiles.resident, MAX_SPLITS)
    parts = query.new_empty((len(queries), splits, batch, packs, num_columns), dtype=torch.float32)
    layer = 0
    for chunk_queries, chunk_keys in chunks:
        layers = len(chunk_queries)
        launch(
            triton_kernels.column_sums,
            (column_tiles * splits, packs, batch * layers),
            [
                *_padded(chunk_queries),
                *_padded(chunk_keys),
                normalisers[layer : layer + layers],
                parts[layer : layer + layers],
                column_start,
                query_start,
                query_start if key_start is None else key_start,
                mask,
                table,
                *_strides(chunk_queries[0]),
                *_strides(chunk_keys[0]),
                num_rows,
                lse_rows,
                num_keys,
                num_columns,
                column_tiles,
                splits,
                *blocks,
                *ranges,
            ],
            {
                "GROUP": pack_size,
                "REPEAT": group_size // pack_size,
                "LAYERS": layers,
                "BLOCK_ROWS": tiles.rows,
                "BLOCK_KEYS": tiles.keys,
                "ROW_MASK": row_mask is not None,
                "MAXIMUM": reduction == "max",
                **common,
            },
            tiles,
        )
        layer += layers

    heads = num_heads if per_head else 1
    out = query.new_empty((batch, heads, num_columns), dtype=torch.float32)
    launch(
        triton_kernels.reduce_parts,
        (triton.cdiv(num_columns, 128), heads, batch),
        [
            parts,
            out,
            mask,
            len(queries) * splits,
            batch,
            heads,
            packs // heads,
            num_rows,
            num_columns,
            len(queries) * (1 if per_head else num_heads),
        ],
        {
            "BLOCK": 128,
            "BLOCK_TERMS": 16,
            "BLOCK_T": 256,
            "ROW_MASK": row_mask is not None,
            "MAXIMUM": reduction == "max",
            "MEAN": reduction == "mean",
        },
    )
    return out if per_head else out[:, 0]


def _normalisers(
    chunks: list[tuple[list[Tensor], list[Tensor]]],
    starts: list[Tensor],
    sizes: list[int],
    ranges: list,
    tiles: Tiles,
    common: dict,
) -> Tensor:
    """Log2 normalisers [L, B, Hkv, lse_rows] of all rows: pass A. starts: query_start, key_start, the block table;
    sizes: num_rows, lse_rows, num_keys; ranges: what the kernel takes last."""
    query, key = chunks[0][0][0], chunks[0][1][0]
    num_layers = sum(len(chunk) for chunk, _ in chunks)
    batch, num_heads = query.shape[:2]
    num_kv_heads = key.shape[1]
    num_rows, lse_rows, num_keys = sizes
    group_size = num_heads // num_kv_heads
    chip = chip_of(query.device)
    block_rows = min(tiles.rows, max(16 * tiles.warps, triton.next_power_of_2(num_rows * group_size)))
    row_tiles = triton.cdiv(lse_rows, block_rows)
    programs = row_tiles * num_kv_heads * batch * min(num_layers, LAYERS_A_LAUNCH)
    key_steps = triton.cdiv(num_keys, tiles.keys)
    splits = splits_for(programs, key_steps, chip.multiprocessors * tiles.resident, 4 * MAX_SPLITS)
    normalisers = query.new_empty((num_layers, splits, batch, num_kv_heads, lse_rows), dtype=torch.float32)
    layer = 0
    for queries, keys in chunks:
        launch(
            triton_kernels.row_normalisers,
            (row_tiles * splits, num_kv_heads, batch * len(queries)),
            [
                *_padded(queries),
                *_padded(keys),
                normalisers[layer : layer + len(queries)],
                *starts,
                *_strides(queries[0]),
                *_strides(keys[0]),
                *sizes,
                row_tiles,
                splits,
                *ranges,
            ],
            {
                "GROUP": group_size,
                "LAYERS": len(queries),
                "BLOCK_ROWS": block_rows,
                "BLOCK_KEYS": tiles.keys,
                **common,
            },
            tiles,
        )
        layer += len(queries)
    if splits == 1:
        return normalisers[:, 0]
    merged = normalisers.new_empty((num_layers, *normalisers.shape[2:]))
    count = batch * num_kv_heads * lse_rows
    launch(
        triton_kernels.merge_normalisers,
        (triton.cdiv(count, 128), num_layers),
        [normalisers, merged, count, splits],
        {"BLOCK": 128, "BLOCK_SPLITS": triton.next_power_of_2(splits)},
    )
    return merged


def _chunks(queries: list[Tensor], keys: list[Tensor]) -> list[tuple[list[Tensor], list[Tensor]]]:
    """Runs of at most four consecutive layers of equal strides, which one launch can serve."""
    chunks: list[tuple[list[Tensor], list[Tensor]]] = []
    for query, key in zip(queries, keys, strict=True):
        if chunks:
            last_queries, last_keys = chunks[-1]
            same = query.stride() == last_queries[0].stride() and key.stride() == last_keys[0].stride()
            if same and len(last_queries) < LAYERS_A_LAUNCH:
                last_queries.append(query)
                last_keys.append(key)
                continue
        chunks.append(([query], [key]))
    return chunks


def _packed(lse: list[Tensor], num_kv_heads: int, lse_rows: int) -> Tensor:
    """Log2 normalisers [L, B, Hkv, lse_rows] of a natural lse [B, Hq, T] a layer."""
    given = [each.float().contiguous() for each in lse]
    batch, num_heads, num_rows = given[0].shape
    group_size = num_heads // num_kv_heads
    packed = given[0].new_empty((len(given), batch, num_kv_heads, lse_rows))
    for layer in range(0, len(given), LAYERS_A_LAUNCH):
        chunk = given[layer : layer + LAYERS_A_LAUNCH]
        launch(
            triton_kernels.pack_normalisers,
            (triton.cdiv(lse_rows, 256), batch * num_kv_heads, len(chunk)),
            [*_padded(chunk), packed[layer : layer + len(chunk)], num_rows, lse_rows],
            {"GROUP": group_size, "BLOCK": 256},
        )
    return packed


def _padded(layers: list[Tensor]) -> list[Tensor]:
    return layers + layers[-1:] * (LAYERS_A_LAUNCH - len(layers))


def _strides(tensor: Tensor) -> tuple[int, ...]:
    return tensor.stride()
