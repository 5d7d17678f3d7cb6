# mypy: ignore-errors
"""Triton kernels of scoring decode attention: keys are split over programs, one more launch combines the splits.

The query heads of a group are packed beside each other, so a key and value tile is read once for BLOCK_G of them. Keys
are on the M side of the products and heads, padded to BLOCK_G, on the N side.
"""

import triton
import triton.language as tl

from rlivs_kernels.triton_pages import key_offsets
from rlivs_kernels.triton_product import capped, float32_product


@triton.jit
def _visible_keys(
    key_lengths, key_start, batch, num_keys, sliding_window, KEY_START: tl.constexpr, WINDOW: tl.constexpr
):
    """The keys low..high that a batch row sees."""
    length = tl.load(key_lengths + batch)
    low = 0
    if KEY_START:
        low = tl.maximum(low, tl.load(key_start + batch))
    if WINDOW:
        low = tl.maximum(low, length - sliding_window)
    return low, tl.minimum(num_keys, length)


@triton.jit(do_not_specialize=["num_keys", "num_columns", "splits", "table_row", "num_blocks", "sliding_window"])
def attend_split(
    query,
    key,
    value,
    key_lengths,
    key_start,
    column_start,
    block_table,
    mixed,
    split_lse,
    logits_of_columns,
    query_batch,
    query_head,
    query_dim,
    key_batch,
    key_head,
    key_row,
    key_dim,
    value_batch,
    value_head,
    value_row,
    value_dim,
    num_keys,
    num_columns,
    splits,
    table_row,
    num_blocks,
    scale,
    cap_inner,
    cap_outer,
    sliding_window,
    GROUP: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    KEY_START: tl.constexpr,
    SOFTCAP: tl.constexpr,
    WINDOW: tl.constexpr,
    SCORED: tl.constexpr,
    FLOAT32: tl.constexpr,
):
    """Softmax of one split of the keys: mixed [B, Hq, splits, D] and its log2 normaliser split_lse [B, splits, Hq].

    SCORED leaves the logits (log2 units) of the columns in logits_of_columns [B, Hq, N]: kept as logits and not as
    exp2(logit - maximum of the split), they neither underflow nor depend on a maximum that is still growing.
    Every split gets an equal share of the row's own length, so a long cache with few keys still fills the chip.
    BLOCK_SIZE is 0 for a cache in one piece; keys in blocks lie where block_table says, key_batch apart.
    Grid (splits, Hkv x tiles of BLOCK_G heads, B).
    """
    split = tl.program_id(0)
    tiles: tl.constexpr = (GROUP + BLOCK_G - 1) // BLOCK_G
    kv_head = tl.program_id(1) // tiles
    num_heads = tl.num_programs(1) // tiles * GROUP
    batch = tl.program_id(2)
    group = tl.program_id(1) % tiles * BLOCK_G + tl.arange(0, BLOCK_G)
    head = kv_head * GROUP + group
    dim = tl.arange(0, BLOCK_D)
    offset = tl.arange(0, BLOCK_KEYS)
    in_group = group < GROUP
    in_head = dim < HEAD_DIM

    low, high = _visible_keys(key_lengths, key_start, batch, num_keys, sliding_window, KEY_START, WINDOW)
    # Not in whole tiles: a tile's keys beyond the share are not fetched, and all programs fetch the same.
    share = tl.cdiv(tl.maximum(high - low, 0), splits)
    begin = low + split * share
    end = tl.minimum(high, begin + share)

    query_rows = query + batch.to(tl.int64) * query_batch + head * query_head
    queries = tl.load(
        query_rows[None, :] + dim[:, None] * query_dim, mask=in_group[None, :] & in_head[:, None], other=0.0
    )
    keys = key + kv_head.to(tl.int64) * key_head
    values = value + kv_head.to(tl.int64) * value_head
    table = block_table + batch.to(tl.int64) * table_row
    if BLOCK_SIZE == 0:
        keys += batch.to(tl.int64) * key_batch + begin.to(tl.int64) * key_row
        values += batch.to(tl.int64) * value_batch + begin.to(tl.int64) * value_row
    first_column = 0
    if SCORED:
        first_column = tl.load(column_start + batch)
        logits_of_columns += batch.to(tl.int64) * num_heads * num_columns

    highest = tl.full([BLOCK_G], float("-inf"), tl.float32)
    # Sums over the keys of one thread: what threads and warps hold is added after the loop.
    total = tl.zeros([BLOCK_KEYS // 16, 8, BLOCK_G], tl.float32)
    mix = tl.zeros([BLOCK_D, BLOCK_G], tl.float32)
    for first in range(begin, end, BLOCK_KEYS):
        column = first + offset
        seen = column < end
        tile_mask = seen[:, None] & in_head[None, :]
        if BLOCK_SIZE == 0:
            key_places = offset * key_row
            value_places = offset * value_row
        else:
            key_places = key_offsets(column, seen, table, num_blocks, key_batch, key_row, BLOCK_SIZE)
            value_places = key_offsets(column, seen, table, num_blocks, value_batch, value_row, BLOCK_SIZE)
        value_tile = tl.load(values + (value_places[:, None] + dim[None, :] * value_dim), mask=tile_mask, other=0.0)
        if FLOAT32:
            logits = float32_product(
                keys + key_places, seen, key_dim, query_rows, in_group, query_dim, HEAD_DIM, BLOCK_D
            )
        else:
            key_tile = tl.load(keys + (key_places[:, None] + dim[None, :] * key_dim), mask=tile_mask, other=0.0)
            logits = tl.dot(key_tile, queries)
        if SOFTCAP:
            logits = capped(logits, cap_inner, cap_outer)
        logits *= scale
        if BLOCK_SIZE == 0:
            keys += BLOCK_KEYS * key_row
            values += BLOCK_KEYS * value_row
        if SCORED:
            index = column - first_column
            scored = seen & (index >= 0) & (index < num_columns)
            tl.store(
                logits_of_columns + head[None, :] * num_columns + index[:, None],
                logits,
                mask=scored[:, None] & in_group[None, :],
            )
        logits = tl.where(seen[:, None], logits, float("-inf"))
        higher = tl.maximum(highest, tl.max(logits, 0))
        shift = tl.where(higher == float("-inf"), 0.0, higher)
        weights = tl.exp2(logits - shift[None, :])
        decay = tl.exp2(highest - shift)
        total = total * decay + tl.sum(tl.reshape(weights, [BLOCK_KEYS // 16, 2, 8, BLOCK_G]), 1)
        mix = mix * decay[None, :]
        mix = tl.dot(tl.trans(value_tile), weights.to(value_tile.dtype), mix, input_precision="ieee")
        highest = higher

    total = tl.sum(tl.sum(total, 1), 0)
    highest = tl.where(highest == float("-inf"), 0.0, highest)
    place = (batch * num_heads + head).to(tl.int64) * splits + split
    tl.store(
        split_lse + (batch * splits + split).to(tl.int64) * num_heads + head, highest + tl.log2(total), mask=in_group
    )
    mix = mix / tl.where(total == 0.0, 1.0, total)[None, :]
    tl.store(
        mixed + place[None, :] * HEAD_DIM + dim[:, None],
        mix,
        mask=in_group[None, :] & in_head[:, None],
    )


@triton.jit(do_not_specialize=["num_keys", "num_columns", "splits", "num_heads", "sums_batch", "sliding_window"])
def combine_splits(
    mixed,
    split_lse,
    logits_of_columns,
    key_lengths,
    key_start,
    column_start,
    out,
    lse,
    column_sums,
    sums_batch,
    num_heads,
    num_keys,
    num_columns,
    splits,
    sliding_window,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_SPLITS: tl.constexpr,
    BLOCK_HEADS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
    KEY_START: tl.constexpr,
    WINDOW: tl.constexpr,
    SCORED: tl.constexpr,
):
    """Out and lse (natural) from the splits; and column_sums[b, n] += sum over heads of exp2(logit - lse).

    Grid (heads + column tiles, B): the first programs of a batch row each finish a head, the others each add a tile of
    columns, which no other program touches.
    """
    item = tl.program_id(0)
    batch = tl.program_id(1)
    split = tl.arange(0, BLOCK_SPLITS)
    rows = batch.to(tl.int64) * num_heads
    split_rows = split_lse + (rows * splits + split * num_heads)
    if item < num_heads:
        row = rows + item
        dim = tl.arange(0, BLOCK_D)
        # All at once, before anything waits: one latency of memory and not one a chunk.
        part = tl.load(split_rows + item, mask=split < splits, other=float("-inf"))
        mix = tl.load(
            mixed + (row * splits + split)[:, None] * HEAD_DIM + dim[None, :],
            mask=(split < splits)[:, None] & (dim < HEAD_DIM)[None, :],
            other=0.0,
        )
        highest = tl.max(part, 0)
        highest = tl.where(highest == float("-inf"), 0.0, highest)
        share = tl.exp2(part - highest)
        total = tl.sum(share, 0)
        tl.store(lse + row, (highest + tl.log2(total)) * 0.6931471805599453)
        result = tl.sum(share[:, None] * mix, 0)
        result = result / tl.where(total == 0.0, 1.0, total)
        tl.store(out + row * HEAD_DIM + dim, result.to(out.dtype.element_ty), mask=dim < HEAD_DIM)
    elif SCORED:
        index = (item - num_heads) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
        column = tl.load(column_start + batch) + index
        low, high = _visible_keys(key_lengths, key_start, batch, num_keys, sliding_window, KEY_START, WINDOW)
        seen = (column >= low) & (column < high) & (index < num_columns)
        sums = tl.zeros([BLOCK_COLUMNS], tl.float32)
        for first in range(0, num_heads, BLOCK_HEADS):
            head = first + tl.arange(0, BLOCK_HEADS)
            in_range = head < num_heads
            part = tl.load(
                split_rows[:, None] + head[None, :],
                mask=(split < splits)[:, None] & in_range[None, :],
                other=float("-inf"),
            )
            logits = tl.load(
                logits_of_columns + (rows + head)[:, None] * num_columns + index[None, :],
                mask=in_range[:, None] & seen[None, :],
                other=float("-inf"),
            )
            highest = tl.max(part, 0)
            highest = tl.where(highest == float("-inf"), 0.0, highest)
            normaliser = highest + tl.log2(tl.sum(tl.exp2(part - highest[None, :]), 0))
            weights = tl.exp2(logits - normaliser[:, None])
            sums += tl.sum(tl.where(in_range[:, None] & seen[None, :], weights, 0.0), 0)
        place = column_sums + batch.to(tl.int64) * sums_batch + index
        tl.store(place, tl.load(place, mask=seen, other=0.0) + sums, mask=seen)
