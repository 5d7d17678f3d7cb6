"""Attention column sums by the CUDA extension (csrc/): two passes, one launch of each for all layers."""

import torch
from torch import Tensor

from rlivs_kernels import cuda_module
from rlivs_kernels.ops.paging import number_of_keys

TYPES = {torch.float16: 0, torch.bfloat16: 1, torch.float32: 2}
REDUCTIONS = {"sum": 0, "mean": 1, "max": 2}
HEAD_SIZES = (64, 80, 96, 128, 256)
COPY_BYTES = 16
FLOAT_256_BYTES = 134_000  # FloatTiles of csrc/include/rlivs/column_sums
NO_TENSOR = (0, (0, 0, 0))


def limit(query: Tensor, key: Tensor, **options: object) -> str | None:
    """Why this backend cannot serve the call; None when it can."""
    if query.dtype not in TYPES:
        return f"it serves float16, bfloat16 and float32, not {query.dtype}"
    if query.shape[-1] not in HEAD_SIZES:
        return f"it serves head sizes {', '.join(map(str, HEAD_SIZES))}, not {query.shape[-1]}"
    reason = layout_limit(query, "query") or layout_limit(key, "key") or cuda_module.limit(query.device)
    if reason is not None or query.dtype != torch.float32 or query.shape[-1] < 256:
        return reason
    if cuda_module.shared_memory(query.device) < FLOAT_256_BYTES:
        return f"float32 at head size 256 takes {FLOAT_256_BYTES} bytes of shared memory a block, more than there are"
    return None


def layout_limit(tensor: Tensor, name: str) -> str | None:
    """Why the kernels' 16-byte copies cannot read [B, H, T, D] rows where they lie; None when they can."""
    if tensor.stride(-1) != 1:
        return f"{name} has stride {tensor.stride(-1)} along the head size; it needs 1"
    unit = COPY_BYTES // tensor.element_size()
    sizes = list(zip(tensor.stride()[:3], tensor.shape[:3], strict=True))
    if tensor.data_ptr() % COPY_BYTES or any(stride % unit for stride, size in sizes if size > 1):
        return f"{name} has rows that do not start at multiples of {COPY_BYTES} bytes"
    if sum(stride * size for stride, size in sizes[1:]) >= 2**31:
        return f"{name} spreads one batch row over 2^31 elements or more"
    return None


def readable(tensor: Tensor) -> Tensor:
    """The tensor; a copy of one that `limit` did not see and the kernels can't read. No KV cache is such a one."""
    return tensor if layout_limit(tensor, "") is None else tensor.contiguous()


def table_arguments(cache: Tensor, block_table: Tensor | None) -> tuple[int, int, int, int]:
    """Address, blocks a batch row, blocks, keys a block; no address where the cache is in one piece."""
    if block_table is None:
        return 0, 0, 0, 1
    return block_table.data_ptr(), block_table.shape[1], cache.shape[0], cache.shape[2]


def attention_column_sums_cuda(
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
    """Fp32 [B, N], or [B, Hq, N] per head."""
    queries, keys = [readable(each) for each in queries], [readable(each) for each in keys]
    query, key = queries[0], keys[0]
    batch, num_heads, num_rows, head_dim = query.shape
    if lse is not None:
        lse = [each.float() for each in lse]
    if row_mask is not None:
        row_mask = row_mask.contiguous()
    device = query.device
    plan = cuda_module.extension().ColumnSumsPlan(
        device.index or 0,
        TYPES[query.dtype],
        len(queries),
        batch,
        num_heads,
        key.shape[1],
        num_rows,
        number_of_keys(key, block_table),
        num_columns,
        head_dim,
        lse is not None,
        per_head,
    )
    shape = (batch, num_heads, num_columns) if per_head else (batch, num_columns)
    out = torch.empty(shape, dtype=torch.float32, device=device)
    workspace = torch.empty(plan.workspace_bytes, dtype=torch.uint8, device=device)
    given = [NO_TENSOR] * len(queries) if lse is None else [(each.data_ptr(), each.stride()) for each in lse]
    layers = [
        (q.data_ptr(), q.stride()[:3], k.data_ptr(), k.stride()[:3], *normaliser)
        for q, k, normaliser in zip(queries, keys, given, strict=True)
    ]
    plan.run(
        layers,
        query_start.data_ptr(),
        0 if key_start is None else key_start.data_ptr(),
        column_start.data_ptr(),
        0 if row_mask is None else row_mask.data_ptr(),
        table_arguments(key, block_table),
        out.data_ptr(),
        workspace.data_ptr(),
        scale,
        softcap or 0.0,
        sliding_window or 0,
        REDUCTIONS[reduction],
        cuda_module.current_stream(device),
    )
    return out
