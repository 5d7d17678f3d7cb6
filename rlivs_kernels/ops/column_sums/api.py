"""attention_column_sums: checks the arguments, picks a backend, and is registered with torch.library."""

from collections.abc import Sequence

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

REDUCTIONS = ("mean", "sum", "max")
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@torch.no_grad()
def attention_column_sums(
    query: Tensor | Sequence[Tensor],
    key: Tensor | Sequence[Tensor],
    *,
    column_range: ColumnRange,
    query_start: PerBatchRow,
    key_start: PerBatchRow | None = None,
    lse: Tensor | Sequence[Tensor] | None = None,
    row_mask: Tensor | None = None,
    block_table: Tensor | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    reduction: str = "mean",
    per_head: bool = False,
    backend: str = "auto",
) -> Tensor:
    """Attention that query rows give to key columns: reduce over l, h, t of exp(logit[l, h, t, j] - lse[l, h, t]).

    logit = scale * q . k (softcap * tanh(logit / softcap) where a softcap is given); the softmax runs over all keys
    that row t sees, key_start[b] <= j <= query_start[b] + t, also those outside column_range (rLiVS, arXiv
    2510.17364, section 3).

    query: [B, Hq, T, D], fp16, bf16, fp32 (fp64 on the reference and torch backends), any strides; or a list, a tensor
        a layer. D: any on the reference and torch backends, up to 256 in Triton, 64, 80, 96, 128 or 256 in CUDA.
    key: [B, Hkv, S, D], same dtype, Hq a multiple of Hkv; never copied; or a list, as query.
    column_range: (start, stop) for every batch row, or (starts [B], length). A column that is no key, or that no
        row sees, scores 0.
    query_start: key index of row 0; int, or integer tensor [B]. A row beyond the last key sees all of them.
    key_start: first key that counts (left padding); int, or integer tensor [B].
    lse: fp32 [B, Hq, T] (one a layer), natural log; spares the pass that computes it.
    row_mask: bool [B, T], True where a row counts; a batch row without any gives zeros.
    block_table: int32 [B, M]: key is in blocks, [num_blocks, Hkv, block_size, D], as serving engines keep it. Key j of
        batch row b is row j % block_size of block block_table[b, j // block_size], and S = M * block_size; what the
        table holds beyond the keys that rows see does not matter. Of a cache [num_blocks, block_size, Hkv, D] pass
        cache.transpose(1, 2).
    scale: default D ** -0.5. sliding_window: a row sees this many keys, its own the last.
    reduction: "mean" or "sum" over layers, heads and counted rows, or "max" (maximum over them).
    per_head: keep the query heads apart.
    backend: "auto", which takes the fastest that can serve the call, or by name: "cuda", "triton" (softcaps up to 200),
        "torch", "reference".
    Returns fp32 [B, N], or [B, Hq, N] with per_head (fp64 for fp64 inputs). A NaN or infinite logit makes its row's
    columns NaN, in that batch row and head only.
    Scores carry no gradient, also of inputs that require one.
    Ints given for ranges become device tensors on every call; in a hot loop pass int32 tensors.
    Raises ValueError for inputs that do not fit together, and for a backend that cannot serve the call.
    """
    queries, keys = _layers(query, key, paged=block_table is not None)
    batch, num_heads, num_rows, head_dim = queries[0].shape
    device = queries[0].device
    table = checked_table(block_table, batch, device)
    num_keys = number_of_keys(keys[0], table)
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction {reduction!r} is not known; use one of {', '.join(REDUCTIONS)}")
    factor = logit_scale(scale, head_dim)
    check_softcap(softcap)
    window = window_length(sliding_window)
    if row_mask is not None and (row_mask.dtype != torch.bool or tuple(row_mask.shape) != (batch, num_rows)):
        raise ValueError(
            f"row_mask is {row_mask.dtype} {list(row_mask.shape)}; pass bool [B, T] = [{batch}, {num_rows}]"
        )
    given = _given_lse(lse, len(queries), (batch, num_heads, num_rows), device)
    starts, num_columns = column_starts(column_range, batch, num_keys, device)
    return torch.ops.rlivs_kernels.attention_column_sums(
        queries,
        keys,
        starts,
        num_columns,
        per_batch_row(query_start, "query_start", batch, device),
        None if key_start is None else per_batch_row(key_start, "key_start", batch, device),
        given,
        row_mask if row_mask is None else row_mask.to(device),
        table,
        factor,
        softcap,
        window,
        reduction,
        per_head,
        backend,
    )


def _layers(
    query: Tensor | Sequence[Tensor], key: Tensor | Sequence[Tensor], paged: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Both as lists of one tensor a layer, shapes, dtypes and devices checked."""
    if isinstance(query, Tensor) != isinstance(key, Tensor):
        raise ValueError("query and key must both be tensors or both be lists of one tensor a layer")
    queries = [query] if isinstance(query, Tensor) else list(query)
    keys = [key] if isinstance(key, Tensor) else list(key)
    if not queries or len(queries) != len(keys):
        raise ValueError(f"got {len(queries)} query and {len(keys)} key layers; pass one of each a layer")
    q, k = queries[0], keys[0]
    if q.dim() != 4 or k.dim() != 4:
        raise ValueError(f"query is {list(q.shape)}, key is {list(k.shape)}; pass [B, Hq, T, D] and [B, Hkv, S, D]")
    if any(t.shape != q.shape for t in queries) or any(t.shape != k.shape for t in keys):
        raise ValueError("layers differ in shape; score layers of different shapes in separate calls")
    if (q.shape[0] != k.shape[0] and not paged) or q.shape[3] != k.shape[3]:
        what = "head size" if paged else "batch and head size"
        raise ValueError(f"query {list(q.shape)} and key {list(k.shape)} must agree in {what}")
    if 0 in q.shape or 0 in k.shape:
        raise ValueError(f"query {list(q.shape)} or key {list(k.shape)} is empty; skip the call")
    if q.shape[1] % k.shape[1]:
        raise ValueError(
            f"{q.shape[1]} query heads are no multiple of {k.shape[1]} KV heads; pass key before repeat_kv"
        )
    if q.dtype not in DTYPES or any(t.dtype != q.dtype for t in queries + keys):
        raise ValueError("query and key must share one dtype of float16, bfloat16, float32, float64; cast one of them")
    if any(t.device != q.device for t in queries + keys):
        raise ValueError("query and key lie on several devices; move them to one, or call once a device")
    return queries, keys


def _given_lse(
    lse: Tensor | Sequence[Tensor] | None, num_layers: int, shape: tuple[int, ...], device: torch.device
) -> list[Tensor]:
    """One lse a layer, or an empty list."""
    if lse is None:
        return []
    given = [lse] if isinstance(lse, Tensor) else list(lse)
    if len(given) != num_layers:
        raise ValueError(f"got {len(given)} lse for {num_layers} layers; pass one a layer")
    if any(tuple(t.shape) != shape or not t.is_floating_point() for t in given):
        raise ValueError(f"lse is {list(given[0].shape)}; pass float [B, Hq, T] = {list(shape)}, natural log")
    if any(t.device != device for t in given):
        raise ValueError(f"lse lies on {given[0].device}, query on {device}; move it there")
    return given


LIBRARY.define(
    "attention_column_sums(Tensor[] query, Tensor[] key, Tensor column_start, SymInt num_columns, Tensor query_start, "
    "Tensor? key_start, Tensor[] lse, Tensor? row_mask, Tensor? block_table, float scale, float? softcap, "
    "int? sliding_window, str reduction, bool per_head, str backend) -> Tensor"
)


def _dispatch(
    queries: list[Tensor],
    keys: list[Tensor],
    column_start: Tensor,
    num_columns: int,
    query_start: Tensor,
    key_start: Tensor | None,
    lse: list[Tensor],
    row_mask: Tensor | None,
    block_table: Tensor | None,
    scale: float,
    softcap: float | None,
    sliding_window: int | None,
    reduction: str,
    per_head: bool,
    backend: str,
) -> Tensor:
    options = {
        "query_start": query_start,
        "key_start": key_start,
        "lse": lse or None,
        "row_mask": row_mask,
        "block_table": block_table,
        "scale": scale,
        "softcap": softcap,
        "sliding_window": sliding_window,
        "reduction": reduction,
        "per_head": per_head,
    }
    name, module = backends.pick("column_sums", backend, queries, keys, options)
    with full_precision(queries[0].device.type, name in backends.OF_TORCH):
        if name == "reference":
            return module.attention_column_sums_reference(
                queries, keys, column_range=(column_start, num_columns), **options
            )
        function = getattr(module, f"attention_column_sums_{name}")
        return function(queries, keys, column_start=column_start, num_columns=num_columns, **options)


def _fake(
    queries: list[Tensor],
    keys: list[Tensor],
    column_start: Tensor,
    num_columns: int,
    query_start: Tensor,
    key_start: Tensor | None,
    lse: list[Tensor],
    row_mask: Tensor | None,
    block_table: Tensor | None,
    scale: float,
    softcap: float | None,
    sliding_window: int | None,
    reduction: str,
    per_head: bool,
    backend: str,
) -> Tensor:
    batch, num_heads = queries[0].shape[:2]
    dtype = torch.float64 if queries[0].dtype == torch.float64 else torch.float32
    shape = (batch, num_heads, num_columns) if per_head else (batch, num_columns)
    return queries[0].new_empty(shape, dtype=dtype)


for _key in ("CPU", "CUDA"):
    LIBRARY.impl("attention_column_sums", _dispatch, _key)
torch.library.register_fake("rlivs_kernels::attention_column_sums", _fake, lib=LIBRARY)
