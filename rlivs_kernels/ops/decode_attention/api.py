"""decode_attention: checks the arguments, picks a backend, and is registered with torch.library."""

import torch
from torch import Tensor

from rlivs_kernels import backends
from rlivs_kernels.ops.arguments import (
    ColumnRange,
    PerBatchRow,
    check_softcap,
    column_starts,
    logit_scale,
    per_batch_row,
    window_length,
)
from rlivs_kernels.ops.library import LIBRARY, full_precision
from rlivs_kernels.ops.paging import checked_table, number_of_keys

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@torch.no_grad()
def decode_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    key_lengths: PerBatchRow,
    key_start: PerBatchRow | None = None,
    column_range: ColumnRange | None = None,
    column_sums: Tensor | None = None,
    block_table: Tensor | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """One decode step, softmax(scale * q k^T) v over keys key_start[b] <= j < key_lengths[b], which can also add up
    the attention its columns receive: column_sums[b, n] += sum over heads of p[b, h, column_start[b] + n], where p is
    that softmax (split-KV flash decoding; the sums are those of rLiVS, arXiv 2510.17364, section 3).

    query: [B, Hq, 1, D]; key, value: [B, Hkv, S, D]; one dtype of fp16, bf16, fp32 (fp64 on the reference and torch
        backends), any strides, never copied; Hq a multiple of Hkv. D: as attention_column_sums.
    key_lengths: number of valid keys (S if it says more), int or integer tensor [B]; read on the device, so a captured
        CUDA graph follows it. A batch row of length 0 gives zeros, lse -inf, and adds nothing: a finished row of a
        batch stops counting.
    key_start: first key that counts (left padding); int, or integer tensor [B].
    column_sums: fp32 [B, N] (fp64 for fp64 inputs), contiguous rows, accumulated in place: the SUM over heads. Divide
        by heads and steps for a mean.
    column_range: (start, stop) or (starts [B], length), with N columns; default the first N keys.
    block_table: int32 [B, M]: key and value are in blocks, [num_blocks, Hkv, block_size, D], and S = M * block_size; as
        attention_column_sums.
    scale: default D ** -0.5. softcap: as attention_column_sums. sliding_window: only the last so many keys before
        key_lengths count.
    backend: as attention_column_sums.
    Returns out [B, Hq, 1, D] in the inputs' dtype and lse fp32 [B, Hq] (fp64 for fp64 inputs), natural log.
    Nothing it returns carries a gradient, also of inputs that require one: it is for decoding, not for training.
    Ints given for lengths and ranges become device tensors on every call; in a hot loop pass int32 tensors.
    Raises ValueError for inputs that do not fit together, and for a backend that cannot serve the call.
    """
    if query.dim() != 4 or query.shape[2] != 1:
        raise ValueError(f"query is {list(query.shape)}; pass one row a head, [B, Hq, 1, D]")
    batch, num_heads, _, head_dim = query.shape
    table = checked_table(block_table, batch, query.device)
    fits = key.dim() == 4 and key.shape == value.shape and key.shape[3] == head_dim
    if not fits or (table is None and key.shape[0] != batch):
        wanted = f"[B, Hkv, S, D] = [{batch}, Hkv, S, {head_dim}]"
        if table is not None:
            wanted = f"[num_blocks, Hkv, block_size, D], D = {head_dim},"
        raise ValueError(
            f"key {list(key.shape)} and value {list(value.shape)} do not fit query {list(query.shape)}; "
            f"pass {wanted} for both"
        )
    if 0 in query.shape or 0 in key.shape:
        raise ValueError(f"query {list(query.shape)} or key {list(key.shape)} is empty; skip the call")
    if num_heads % key.shape[1]:
        raise ValueError(
            f"{num_heads} query heads are no multiple of {key.shape[1]} KV heads; pass key before repeat_kv"
        )
    if query.dtype not in DTYPES or key.dtype != query.dtype or value.dtype != query.dtype:
        raise ValueError("query, key and value must share one dtype of float16, bfloat16, float32, float64; cast them")
    if key.device != query.device or value.device != query.device:
        raise ValueError("query, key and value lie on several devices; move them to one")
    factor = logit_scale(scale, head_dim)
    check_softcap(softcap)
    window = window_length(sliding_window)
    starts = None
    if column_sums is not None:
        starts = _column_starts(column_sums, column_range, query, number_of_keys(key, table))
    elif column_range is not None:
        raise ValueError("column_range is given without column_sums; pass the fp32 [B, N] buffer to add to")
    return torch.ops.rlivs_kernels.decode_attention(
        query,
        key,
        value,
        per_batch_row(key_lengths, "key_lengths", batch, query.device),
        None if key_start is None else per_batch_row(key_start, "key_start", batch, query.device),
        starts,
        column_sums,
        table,
        factor,
        softcap,
        window,
        backend,
    )


def _column_starts(column_sums: Tensor, column_range: ColumnRange | None, query: Tensor, num_keys: int) -> Tensor:
    """First column of each batch row, after checking the buffer."""
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    if column_sums.dim() != 2 or column_sums.shape[0] != query.shape[0] or column_sums.shape[1] == 0:
        raise ValueError(f"column_sums is {list(column_sums.shape)}; pass [B, N] with B = {query.shape[0]}")
    if column_sums.dtype != dtype or column_sums.device != query.device or column_sums.stride(1) != 1:
        raise ValueError(f"column_sums must be {dtype} with contiguous rows on {query.device}; allocate it so")
    if column_sums.shape[0] > 1 and column_sums.stride(0) < column_sums.shape[1]:
        raise ValueError("rows of column_sums share memory (expand?), so their sums would mix; allocate it whole")
    num_columns = column_sums.shape[1]
    starts, length = column_starts(column_range or (0, num_columns), query.shape[0], num_keys, query.device)
    if length != num_columns:
        raise ValueError(f"column_range holds {length} columns and column_sums {num_columns}; make them equal")
    return starts


LIBRARY.define(
    "decode_attention(Tensor query, Tensor key, Tensor value, Tensor key_lengths, Tensor? key_start, "
    "Tensor? column_start, Tensor(a!)? column_sums, Tensor? block_table, float scale, float? softcap, "
    "int? sliding_window, str backend) -> (Tensor, Tensor)"
)


def _dispatch(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_lengths: Tensor,
    key_start: Tensor | None,
    column_start: Tensor | None,
    column_sums: Tensor | None,
    block_table: Tensor | None,
    scale: float,
    softcap: float | None,
    sliding_window: int | None,
    backend: str,
) -> tuple[Tensor, Tensor]:
    num_columns = 0 if column_sums is None else column_sums.shape[1]
    options = {
        "key_lengths": key_lengths,
        "key_start": key_start,
        "column_sums": column_sums,
        "block_table": block_table,
        "scale": scale,
        "softcap": softcap,
        "sliding_window": sliding_window,
    }
    # A backend must be able to read values as it reads keys.
    name, module = backends.pick("decode_attention", backend, [query, query], [key, value], options)
    with full_precision(query.device.type, name in backends.OF_TORCH):
        if name == "reference":
            columns = None if column_start is None else (column_start, num_columns)
            out, lse = module.decode_attention_reference(query, key, value, column_range=columns, **options)
            return out.to(query.dtype), lse
        function = getattr(module, f"decode_attention_{name}")
        return function(query, key, value, column_start=column_start, num_columns=num_columns, **options)


def _fake(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_lengths: Tensor,
    key_start: Tensor | None,
    column_start: Tensor | None,
    column_sums: Tensor | None,
    block_table: Tensor | None,
    scale: float,
    softcap: float | None,
    sliding_window: int | None,
    backend: str,
) -> tuple[Tensor, Tensor]:
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    return query.new_empty(query.shape), query.new_empty(query.shape[:2], dtype=dtype)


for _key in ("CPU", "CUDA"):
    LIBRARY.impl("decode_attention", _dispatch, _key)
torch.library.register_fake("rlivs_kernels::decode_attention", _fake, lib=LIBRARY)
