# mypy: ignore-errors
"""Triton kernels of attention column sums: row normalisers (pass A), column sums (pass B), fixed-order reductions.

The rows of all query heads that share a KV head are packed, r = t * GROUP + g, so that every key tile read serves the
whole group. Logits live in units of log2: exp2 is one instruction. Up to four layers are served by one launch.
"""

import triton
import triton.language as tl

from rlivs_kernels.triton_pages import key_offsets
from rlivs_kernels.triton_product import capped, float32_product

# do_not_specialize names the sizes that change from call to call: a compiled variant each would gain nothing.


@triton.jit
def _layer_pointer(pointer0, pointer1, pointer2, pointer3, layer):
    """Of four pointers, the one of a layer; a select keeps what the compiler knows of their alignment."""
    late = tl.where(layer == 2, pointer2, pointer3)
    return tl.where(layer == 0, pointer0, tl.where(layer == 1, pointer1, late))


@triton.jit
def _by_lane(tile):
    """[M, N / 8, 4, 2] of a product [M, N], as a tensor core leaves it: the 4 are neighbouring threads.

    What is summed over the others needs no other thread's numbers: a loop leaves the sum over the 4 to its end.
    """
    return tl.reshape(tile, [tile.shape[0], tile.shape[1] // 8, 4, 2])


@triton.jit
def _first_row(query_start, batch, num_rows, num_keys, sliding_window):
    """Key index of row 0 and the window, no farther than they matter: the group's multiples must fit in int32."""
    given = tl.load(query_start + batch)
    beyond = tl.maximum(given, num_keys) - num_keys
    window = tl.minimum(sliding_window - beyond, num_keys + num_rows)
    return tl.maximum(given - beyond, -num_rows), tl.maximum(window, 1)


@triton.jit
def _visible(row, column, sliding_window, WINDOW: tl.constexpr):
    """Whether the row at key index `row` attends `column`, by causality and sliding window."""
    seen = column <= row
    if WINDOW:
        seen = seen & (column > row - sliding_window)
    return seen


@triton.jit
def _absorb_keys(
    highest,
    total,
    query,
    query_rows,
    query_valid,
    query_dim,
    key_rows,
    table,
    num_blocks,
    key_batch,
    key_row,
    key_dim,
    rows,
    begin,
    end,
    last,
    scale,
    cap_inner,
    cap_outer,
    sliding_window,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    SOFTCAP: tl.constexpr,
    WINDOW: tl.constexpr,
    MASKED: tl.constexpr,
    FLOAT32: tl.constexpr,
):
    """Running maximum and total of each row after the keys begin..end, and key_rows, which points at key `begin`'s
    row, moved on to `end`'s; of a cache in blocks it points at the cache, and stays."""
    dim = tl.arange(0, BLOCK_D)
    offset = tl.arange(0, BLOCK_KEYS)
    for start in range(begin, end, BLOCK_KEYS):
        column = start + offset
        if BLOCK_SIZE == 0:
            places = offset * key_row
        else:
            places = key_offsets(column, column < last, table, num_blocks, key_batch, key_row, BLOCK_SIZE)
        if FLOAT32:
            logits = float32_product(
                query_rows,
                query_valid,
                query_dim,
                key_rows + places,
                column < last,
                key_dim,
                HEAD_DIM,
                BLOCK_D,
            )
        else:
            pointers = key_rows + places[None, :] + dim[:, None] * key_dim
            if MASKED:
                tile = tl.load(pointers, mask=(column < last)[None, :] & (dim < HEAD_DIM)[:, None], other=0.0)
            elif HEAD_DIM == BLOCK_D:
                tile = tl.load(pointers)
            else:
                tile = tl.load(pointers, mask=(dim < HEAD_DIM)[:, None], other=0.0)
            logits = tl.dot(query, tile)
        if BLOCK_SIZE == 0:
            key_rows += BLOCK_KEYS * key_row
        if SOFTCAP:
            logits = capped(logits, cap_inner, cap_outer)
        if MASKED:
            seen = _visible(rows[:, None], column[None, :], sliding_window, WINDOW) & (column < last)[None, :]
            logits = tl.where(seen, logits, float("-inf"))
        # scale is positive, so the maximum can be taken before it is applied; exp2 then costs one fused operation.
        tile = _by_lane(logits)
        higher = tl.maximum(highest, tl.max(tl.max(tile, 3), 1) * scale)
        shift = tl.where(higher == float("-inf"), 0.0, higher)
        weights = tl.exp2(tile * scale - shift[:, None, :, None])
        total = total * tl.exp2(highest - shift) + tl.sum(tl.sum(weights, 3), 1)
        highest = higher
    return highest, total, key_rows


@triton.jit(
    do_not_specialize=["num_rows", "num_keys", "row_tiles", "splits", "sliding_window", "table_row", "num_blocks"]
)
def row_normalisers(
    query0,
    query1,
    query2,
    query3,
    key0,
    key1,
    key2,
    key3,
    lse,
    query_start,
    key_start,
    block_table,
    query_batch,
    query_head,
    query_row,
    query_dim,
    key_batch,
    key_head,
    key_row,
    key_dim,
    num_rows,
    lse_rows,
    num_keys,
    row_tiles,
    splits,
    table_row,
    num_blocks,
    scale,
    cap_inner,
    cap_outer,
    sliding_window,
    GROUP: tl.constexpr,
    LAYERS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    KEY_START: tl.constexpr,
    SOFTCAP: tl.constexpr,
    WINDOW: tl.constexpr,
    FLOAT32: tl.constexpr,
):
    """Pass A: log2 of the sum of exp2(logits) of a tile of packed rows over one split of their keys.

    lse [LAYERS, splits, B, Hkv, lse_rows], in the order of the packed rows, and filled up to whole tiles of pass B. A
    row that sees no key of its split, or does not exist, gives -inf, or, where there is but one split, the +inf by
    which pass B knows that it counts for nothing.
    Grid (row tiles x splits, Hkv, B x LAYERS).
    """
    tile = tl.program_id(0) % row_tiles
    split = tl.program_id(0) // row_tiles
    kv_head = tl.program_id(1)
    layer = tl.program_id(2) % LAYERS
    batch = tl.program_id(2) // LAYERS
    batches = tl.num_programs(2) // LAYERS

    packed = tile * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    row = packed // GROUP
    head = kv_head * GROUP + packed % GROUP
    valid = row < num_rows
    dim = tl.arange(0, BLOCK_D)
    queries = _layer_pointer(query0, query1, query2, query3, layer) + batch.to(tl.int64) * query_batch
    keys = _layer_pointer(key0, key1, key2, key3, layer) + kv_head.to(tl.int64) * key_head
    table = block_table + batch.to(tl.int64) * table_row
    query_rows = queries + row.to(tl.int64) * query_row + head.to(tl.int64) * query_head
    query = tl.load(
        query_rows[:, None] + dim[None, :] * query_dim,
        mask=valid[:, None] & (dim < HEAD_DIM)[None, :],
        other=0.0,
    )

    start, sliding_window = _first_row(query_start, batch, num_rows, num_keys, sliding_window)
    first_row = start + tile * BLOCK_ROWS // GROUP
    last_row = start + tl.minimum(num_rows - 1, (tile * BLOCK_ROWS + BLOCK_ROWS - 1) // GROUP)
    low = 0
    if KEY_START:
        low = tl.maximum(low, tl.load(key_start + batch))
    if WINDOW:
        low = tl.maximum(low, first_row - sliding_window + 1)
    high = tl.minimum(num_keys, last_row + 1)
    share = tl.cdiv(tl.cdiv(tl.maximum(high - low, 0), splits), BLOCK_KEYS) * BLOCK_KEYS
    begin = low + split * share
    end = tl.minimum(high, begin + share)
    # Keys up to the tile's first row are seen by all its rows: whole tiles of them need no mask.
    open_end = tl.minimum(end, first_row + 1)
    if WINDOW:
        open_end = begin
    middle = begin + tl.maximum(open_end - begin, 0) // BLOCK_KEYS * BLOCK_KEYS

    if BLOCK_SIZE == 0:
        keys += batch.to(tl.int64) * key_batch + begin.to(tl.int64) * key_row
    highest = tl.full([BLOCK_ROWS, 4], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_ROWS, 4], tl.float32)
    rows = start + row
    highest, total, key_rows = _absorb_keys(
        highest,
        total,
        query,
        query_rows,
        valid,
        query_dim,
        keys,
        table,
        num_blocks,
        key_batch,
        key_row,
        key_dim,
        rows,
        begin,
        middle,
        end,
        scale,
        cap_inner,
        cap_outer,
        sliding_window,
        HEAD_DIM,
        BLOCK_D,
        BLOCK_KEYS,
        BLOCK_SIZE,
        SOFTCAP,
        WINDOW,
        False,
        FLOAT32,
    )
    highest, total, _ = _absorb_keys(
        highest,
        total,
        query,
        query_rows,
        valid,
        query_dim,
        key_rows,
        table,
        num_blocks,
        key_batch,
        key_row,
        key_dim,
        rows,
        middle,
        end,
        end,
        scale,
        cap_inner,
        cap_outer,
        sliding_window,
        HEAD_DIM,
        BLOCK_D,
        BLOCK_KEYS,
        BLOCK_SIZE,
        SOFTCAP,
        WINDOW,
        True,
        FLOAT32,
    )
    part = highest
    highest = tl.max(part, 1)
    highest = tl.where(highest == float("-inf"), 0.0, highest)
    total = tl.sum(total * tl.exp2(part - highest[:, None]), 1)
    place = ((layer * splits + split) * batches + batch).to(tl.int64) * tl.num_programs(1) + kv_head
    nothing = tl.where(splits == 1, float("inf"), float("-inf"))
    normaliser = tl.where((total == 0.0) | (row >= num_rows), nothing, highest + tl.log2(total))
    tl.store(lse + place * lse_rows + packed, normaliser, mask=packed < lse_rows)


@triton.jit(do_not_specialize=["count", "splits"])
def merge_normalisers(parts, lse, count, splits, BLOCK: tl.constexpr, BLOCK_SPLITS: tl.constexpr):
    """lse [LAYERS, count] of parts [LAYERS, splits, count], all log2; +inf where all are -inf.

    Grid (count / BLOCK, LAYERS).
    """
    item = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    split = tl.arange(0, BLOCK_SPLITS)
    layer = tl.program_id(1).to(tl.int64)
    part = tl.load(
        parts + (layer * splits + split)[:, None] * count + item[None, :],
        mask=(split < splits)[:, None] & (item < count)[None, :],
        other=float("-inf"),
    )
    highest = tl.max(part, 0)
    highest = tl.where(highest == float("-inf"), 0.0, highest)
    total = tl.sum(tl.exp2(part - highest[None, :]), 0)
    normaliser = tl.where(total == 0.0, float("inf"), highest + tl.log2(total))
    tl.store(lse + layer * count + item, normaliser, mask=item < count)


@triton.jit(do_not_specialize=["num_rows"])
def pack_normalisers(given0, given1, given2, given3, lse, num_rows, lse_rows, GROUP: tl.constexpr, BLOCK: tl.constexpr):
    """lse [LAYERS, B, Hkv, lse_rows] in log2 units of a natural one [B, Hkv, GROUP, T] a layer; +inf in place of -inf
    and beyond the rows.

    Grid (lse_rows / BLOCK, B x Hkv, LAYERS).
    """
    packed = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    layer = tl.program_id(2)
    inside = packed < num_rows * GROUP
    given = _layer_pointer(given0, given1, given2, given3, layer)
    given += tl.program_id(1).to(tl.int64) * num_rows * GROUP
    natural = tl.load(given + packed % GROUP * num_rows + packed // GROUP, mask=inside, other=float("-inf"))
    normaliser = tl.where(natural == float("-inf"), float("inf"), natural * 1.4426950408889634)
    place = (layer * tl.num_programs(1) + tl.program_id(1)).to(tl.int64) * lse_rows
    tl.store(lse + place + packed, normaliser, mask=packed < lse_rows)


@triton.jit
def _sum_rows(
    sums,
    keys,
    key_rows,
    key_valid,
    key_dim,
    columns,
    queries,
    lse,
    row_mask,
    begin,
    stop,
    end,
    start,
    query_row,
    query_head,
    query_dim,
    scale,
    cap_inner,
    cap_outer,
    sliding_window,
    GROUP: tl.constexpr,
    REPEAT: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    ROW_MASK: tl.constexpr,
    SOFTCAP: tl.constexpr,
    WINDOW: tl.constexpr,
    MAXIMUM: tl.constexpr,
    MASKED: tl.constexpr,
    FLOAT32: tl.constexpr,
):
    """Adds the weights of packed rows begin..stop, those before `end`, to the sums of the resident key tile's columns.

    begin is a multiple of BLOCK_ROWS.
    """
    dim = tl.arange(0, BLOCK_D)
    # Rows counted from the tile's first: what follows from them is computed once, and no row is divided in the loop.
    item = tl.arange(0, BLOCK_ROWS)
    for first in range(begin, stop, BLOCK_ROWS):
        packed = first + item
        valid = packed < end
        carry = (item % GROUP + first % GROUP >= GROUP).to(tl.int32)
        if ROW_MASK:
            # Rows that do not count are not even read: they may hold anything.
            valid = valid & (tl.load(row_mask + packed // GROUP, mask=valid, other=0) != 0)
        # +inf stands for a row that counts for nothing: exp2(logit - inf) = 0.
        if ROW_MASK or REPEAT > 1:
            normaliser = tl.load(lse + packed * REPEAT, mask=valid, other=float("inf"))
        else:
            normaliser = tl.load(lse + packed)
        offset = item // GROUP * query_row + item % GROUP * query_head
        offset += carry * (query_row - GROUP * query_head)
        offset += first // GROUP * query_row + first % GROUP * query_head
        if FLOAT32:
            logits = float32_product(
                key_rows, key_valid, key_dim, queries + offset, valid, query_dim, HEAD_DIM, BLOCK_D
            )
        else:
            tile = tl.load(
                queries + (offset[:, None] + dim[None, :] * query_dim),
                mask=valid[:, None] & (dim < HEAD_DIM)[None, :],
                other=0.0,
            )
            logits = tl.dot(keys, tl.trans(tile))
        if SOFTCAP:
            logits = capped(logits, cap_inner, cap_outer)
        weights = tl.exp2(logits * scale - normaliser[None, :])
        if MASKED:
            position = start * GROUP + packed
            if ROW_MASK:
                # A row that is left out sees nothing: 0 x NaN of an unseen key must not count.
                position = tl.where(valid, position, -1)
            seen = _visible(position[None, :], columns[:, None] * GROUP, sliding_window * GROUP, WINDOW)
            weights = tl.where(seen, weights, 0.0)
        weights = _by_lane(weights)
        total = tl.sum(tl.sum(weights, 3), 1)
        if MAXIMUM:
            # The hardware's maximum drops NaN; a sum keeps it.
            kept = total + sums
            sums = tl.where(kept == kept, tl.maximum(sums, tl.max(tl.max(weights, 3), 1)), kept)
        else:
            sums += total
    return sums


@triton.jit(
    do_not_specialize=[
        "num_rows",
        "num_keys",
        "num_columns",
        "column_tiles",
        "splits",
        "sliding_window",
        "table_row",
        "num_blocks",
    ]
)
def column_sums(
    query0,
    query1,
    query2,
    query3,
    key0,
    key1,
    key2,
    key3,
    lse,
    parts,
    column_start,
    query_start,
    key_start,
    row_mask,
    block_table,
    query_batch,
    query_head,
    query_row,
    query_dim,
    key_batch,
    key_head,
    key_row,
    key_dim,
    num_rows,
    lse_rows,
    num_keys,
    num_columns,
    column_tiles,
    splits,
    table_row,
    num_blocks,
    scale,
    cap_inner,
    cap_outer,
    sliding_window,
    GROUP: tl.constexpr,
    REPEAT: tl.constexpr,
    LAYERS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    KEY_START: tl.constexpr,
    ROW_MASK: tl.constexpr,
    SOFTCAP: tl.constexpr,
    WINDOW: tl.constexpr,
    MAXIMUM: tl.constexpr,
    FLOAT32: tl.constexpr,
):
    """Pass B: a key tile stays resident, the packed rows stream by, exp2(logit - lse) is summed (or maximised).

    GROUP query heads are packed and REPEAT packs share a KV head: (G, 1) sums heads, (1, G) keeps them apart.
    lse [LAYERS, B, Hkv, lse_rows], in log2 units, of T * G packed rows, then +inf.
    parts [LAYERS, splits, B, packs, num_columns]. Grid (column tiles x splits, packs, B x LAYERS).
    """
    tile = tl.program_id(0) % column_tiles
    split = tl.program_id(0) // column_tiles
    pack = tl.program_id(1)
    layer = tl.program_id(2) % LAYERS
    batch = tl.program_id(2) // LAYERS
    batches = tl.num_programs(2) // LAYERS

    index = tile * BLOCK_KEYS + tl.arange(0, BLOCK_KEYS)
    first_column = tl.load(column_start + batch) + tile * BLOCK_KEYS
    columns = first_column + tl.arange(0, BLOCK_KEYS)
    low = 0
    if KEY_START:
        low = tl.maximum(low, tl.load(key_start + batch))
    # A key that no row sees counts as zeros, and not as the NaN that it may hold.
    start, sliding_window = _first_row(query_start, batch, num_rows, num_keys, sliding_window)
    inside = (columns >= low) & (columns < tl.minimum(num_keys, start + num_rows)) & (index < num_columns)
    dim = tl.arange(0, BLOCK_D)
    key = _layer_pointer(key0, key1, key2, key3, layer) + (pack // REPEAT).to(tl.int64) * key_head
    if BLOCK_SIZE == 0:
        key_rows = key + batch.to(tl.int64) * key_batch + columns.to(tl.int64) * key_row
    else:
        table = block_table + batch.to(tl.int64) * table_row
        key_rows = key + key_offsets(columns, inside, table, num_blocks, key_batch, key_row, BLOCK_SIZE)
    keys = tl.load(
        key_rows[:, None] + dim[None, :] * key_dim, mask=inside[:, None] & (dim < HEAD_DIM)[None, :], other=0.0
    )

    # Rows before the tile's first key do not see it; with a window, neither do rows far beyond its last.
    lowest = tl.maximum(first_column, low)
    highest = tl.minimum(num_keys, first_column + tl.minimum(BLOCK_KEYS, num_columns - tile * BLOCK_KEYS)) - 1
    first_row = tl.maximum(0, lowest - start)
    row_end = num_rows
    if WINDOW:
        row_end = tl.minimum(row_end, highest + sliding_window - start)
    if highest < lowest:
        row_end = 0
    first = first_row * GROUP // BLOCK_ROWS * BLOCK_ROWS
    share = tl.cdiv(tl.cdiv(tl.maximum(row_end * GROUP - first, 0), splits), BLOCK_ROWS) * BLOCK_ROWS
    begin = first + split * share
    end = tl.minimum(row_end * GROUP, begin + share)
    # Rows from the tile's last key on see all of it and need no mask.
    open_row = tl.maximum(highest - start, 0)
    if WINDOW:
        open_row = row_end
    masked_steps = tl.cdiv(tl.maximum(open_row * GROUP - begin, 0), BLOCK_ROWS)
    middle = begin + tl.minimum(masked_steps, tl.cdiv(tl.maximum(end - begin, 0), BLOCK_ROWS)) * BLOCK_ROWS

    queries = _layer_pointer(query0, query1, query2, query3, layer) + batch.to(tl.int64) * query_batch
    queries += (pack * GROUP).to(tl.int64) * query_head
    group = (layer * batches + batch) * (tl.num_programs(1) // REPEAT) + pack // REPEAT
    normalisers = lse + group.to(tl.int64) * lse_rows + pack % REPEAT
    counted = row_mask + batch.to(tl.int64) * num_rows
    sums = tl.zeros([BLOCK_KEYS, 4], tl.float32)
    sums = _sum_rows(
        sums,
        keys,
        key_rows,
        inside,
        key_dim,
        columns,
        queries,
        normalisers,
        counted,
        begin,
        middle,
        end,
        start,
        query_row,
        query_head,
        query_dim,
        scale,
        cap_inner,
        cap_outer,
        sliding_window,
        GROUP,
        REPEAT,
        HEAD_DIM,
        BLOCK_D,
        BLOCK_ROWS,
        ROW_MASK,
        SOFTCAP,
        WINDOW,
        MAXIMUM,
        True,
        FLOAT32,
    )
    sums = _sum_rows(
        sums,
        keys,
        key_rows,
        inside,
        key_dim,
        columns,
        queries,
        normalisers,
        counted,
        middle,
        end,
        end,
        start,
        query_row,
        query_head,
        query_dim,
        scale,
        cap_inner,
        cap_outer,
        sliding_window,
        GROUP,
        REPEAT,
        HEAD_DIM,
        BLOCK_D,
        BLOCK_ROWS,
        ROW_MASK,
        SOFTCAP,
        WINDOW,
        MAXIMUM,
        False,
        FLOAT32,
    )
    if MAXIMUM:
        total = tl.sum(sums, 1)
        sums = tl.where(total == total, tl.max(sums, 1), total)
    else:
        sums = tl.sum(sums, 1)
    place = ((layer * splits + split) * batches + batch).to(tl.int64) * tl.num_programs(1) + pack
    tl.store(parts + place * num_columns + index, tl.where(inside, sums, 0.0), mask=index < num_columns)


@triton.jit(do_not_specialize=["outer", "batches", "heads", "inner", "num_rows", "num_columns", "terms"])
def reduce_parts(
    parts,
    out,
    row_mask,
    outer,
    batches,
    heads,
    inner,
    num_rows,
    num_columns,
    terms,
    BLOCK: tl.constexpr,
    BLOCK_TERMS: tl.constexpr,
    BLOCK_T: tl.constexpr,
    ROW_MASK: tl.constexpr,
    MAXIMUM: tl.constexpr,
    MEAN: tl.constexpr,
):
    """out [B, heads, columns] of parts [outer, B, heads, inner, columns], in one fixed order; a mean divides by
    terms x counted rows. Grid (column tiles, heads, B)."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    head = tl.program_id(1)
    batch = tl.program_id(2)
    term = tl.arange(0, BLOCK_TERMS)
    result = tl.zeros([BLOCK], tl.float32)
    for first in range(0, outer * inner, BLOCK_TERMS):
        item = first + term
        place = (((item // inner) * batches + batch) * heads + head).to(tl.int64) * inner + item % inner
        part = tl.load(
            parts + place[:, None] * num_columns + index[None, :],
            mask=(item < outer * inner)[:, None] & (index < num_columns)[None, :],
            other=0.0,
        )
        total = tl.sum(part, 0)
        if MAXIMUM:
            kept = total + result
            result = tl.where(kept == kept, tl.maximum(result, tl.max(part, 0)), kept)
        else:
            result += total
    if MEAN:
        count = num_rows
        if ROW_MASK:
            count = 0
            for first in range(0, num_rows, BLOCK_T):
                row = first + tl.arange(0, BLOCK_T)
                counted = tl.load(row_mask + batch.to(tl.int64) * num_rows + row, mask=row < num_rows, other=0)
                count += tl.sum((counted != 0).to(tl.int32), 0)
        result = result / (tl.maximum(count, 1) * terms).to(tl.float32)
    tl.store(out + (batch * heads + head).to(tl.int64) * num_columns + index, result, mask=index < num_columns)
