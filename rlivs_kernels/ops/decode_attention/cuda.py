"""Scoring decode attention by the CUDA extension (csrc/): a split kernel and a combine kernel, two launches."""

import torch
from torch import Tensor

from rlivs_kernels import cuda_module
from rlivs_kernels.ops.column_sums.cuda import TYPES, readable, table_arguments
from rlivs_kernels.ops.column_sums.cuda import limit as column_sums_limit
from rlivs_kernels.ops.paging import number_of_keys


def limit(query: Tensor, key: Tensor, **options: object) -> str | None:
    """Why this backend cannot serve the call; None when it can."""
    return column_sums_limit(query, key, **options)


def decode_attention_cuda(
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
    """Out [B, Hq, 1, D] in the inputs' dtype and lse fp32 [B, Hq]; adds to column_sums in place.

    Lengths and starts are read on the device alone: a captured CUDA graph follows them.
    """
    value = readable(value)
    batch, num_heads, _, head_dim = query.shape
    device = query.device
    columns = 0 if column_sums is None else num_columns
    plan = cuda_module.extension().DecodePlan(
        device.index or 0,
        TYPES[query.dtype],
        batch,
        num_heads,
        key.shape[1],
        number_of_keys(key, block_table),
        columns,
        head_dim,
    )
    out = torch.empty((batch, num_heads, 1, head_dim), dtype=query.dtype, device=device)
    lse = torch.empty((batch, num_heads), dtype=torch.float32, device=device)
    workspace = torch.empty(plan.workspace_bytes, dtype=torch.uint8, device=device)
    plan.run(
        query.data_ptr(),
        query.stride()[:3],
        key.data_ptr(),
        key.stride()[:3],
        value.data_ptr(),
        value.stride()[:3],
        key_lengths.data_ptr(),
        0 if key_start is None else key_start.data_ptr(),
        0 if column_start is None else column_start.data_ptr(),
        table_arguments(key, block_table),
        out.data_ptr(),
        lse.data_ptr(),
        0 if column_sums is None else column_sums.data_ptr(),
        0 if column_sums is None else column_sums.stride(0),
        workspace.data_ptr(),
        scale,
        softcap or 0.0,
        sliding_window or 0,
        cuda_module.current_stream(device),
    )
    return out, lse
