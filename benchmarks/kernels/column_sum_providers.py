"""Who computes column sums in the comparison: our backends, and what one would use without them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.kernels.in_blocks import in_blocks
from benchmarks.kernels.shapes import Case
from rlivs_kernels import attention_column_sums, backends


@dataclass(frozen=True)
class Inputs:
    queries: list[Tensor]
    keys: list[Tensor]
    column_start: Tensor
    query_start: Tensor
    key_lengths: Tensor


def inputs(case: Case, device: str) -> Inputs:
    """Normal queries and keys in the layout of a KV cache, logits about normal."""
    generator = torch.Generator(device=device).manual_seed(0)
    dtype = getattr(torch, case.dtype)
    model = case.model

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device, dtype=dtype)

    layers = max(case.layers, 2 if case.operation == "decode_attention" else 1)
    queries = [normal(case.batch, model.num_heads, case.rows, model.head_dim) for _ in range(layers)]
    keys = [normal(case.batch, model.num_kv_heads, case.keys, model.head_dim) for _ in range(layers)]

    def integers(value: int) -> Tensor:
        return torch.full((case.batch,), value, dtype=torch.int32, device=device)

    return Inputs(queries, keys, integers(case.column_start), integers(case.keys - case.rows), integers(case.keys))


Call = Callable[[], Any]


def ours(backend: str, case: Case, data: Inputs) -> Call:
    return partial(
        attention_column_sums,
        data.queries,
        data.keys,
        column_range=(data.column_start, case.columns),
        query_start=data.query_start,
        backend=backend,
    )


def ours_given_lse(backend: str, case: Case, data: Inputs) -> Call:
    """Pass B alone: the caller has lse from the attention that made the rows."""
    lse = [_lse(case, q, k) for q, k in zip(data.queries, data.keys, strict=True)]
    return partial(ours(backend, case, data), lse=lse)


def ours_in_blocks(backend: str, case: Case, data: Inputs) -> Call:
    blocks, table = in_blocks(data.keys)
    return partial(ours(backend, case, replace(data, keys=blocks)), block_table=table)


def _lse(case: Case, query: Tensor, key: Tensor) -> Tensor:
    group = case.group_size
    row = case.keys - case.rows + torch.arange(case.rows, device=query.device)
    later = torch.arange(case.keys, device=query.device) > row[:, None]
    rows = []
    for b in range(case.batch):
        heads = []
        for h in range(case.model.num_kv_heads):
            logits = query[b, h * group : (h + 1) * group].float() @ key[b, h].float().T * case.model.head_dim**-0.5
            heads.append(torch.logsumexp(logits.masked_fill_(later, -torch.inf), -1))
        rows.append(torch.cat(heads))
    return torch.stack(rows)


def eager_softmax(case: Case, data: Inputs) -> Call:
    """Attention maps of the rows, as an eager attention function returns them, then a mean."""
    row = case.keys - case.rows + torch.arange(case.rows, device=data.query_start.device)
    later = torch.arange(case.keys, device=row.device) > row[:, None]

    def call() -> Tensor:
        means = []
        for query, key in zip(data.queries, data.keys, strict=True):
            logits = query @ key.repeat_interleave(case.group_size, dim=1).transpose(2, 3) * case.model.head_dim**-0.5
            maps = logits.masked_fill_(later, -torch.inf).softmax(-1, dtype=torch.float32)
            means.append(maps[..., case.column_start : case.column_start + case.columns].mean((1, 2)))
        return torch.stack(means).mean(0)

    return call


def per_head_grid(case: Case, data: Inputs, copies: bool) -> Call:
    """A grid a query head: FlagAttention's way, or, with expanded and copied keys, keys_values'."""
    from benchmarks.kernels.baseline_grids import per_head_column_sums

    def call() -> Tensor:
        means = []
        for query, key in zip(data.queries, data.keys, strict=True):
            if copies:
                query, key = query.contiguous().clone(), key.repeat_interleave(case.group_size, dim=1).contiguous()
            sums = per_head_column_sums(query, key, case.column_start, case.columns, case.keys - case.rows)
            means.append(sums.mean(1) / case.rows)
        return torch.stack(means).mean(0)

    return call


@cache
def _compiled_flex() -> Callable:
    from torch.nn.attention.flex_attention import flex_attention

    # Every shape is compiled anew; past Dynamo's limit it would run uncompiled and still be called flex_attention.
    torch._dynamo.config.recompile_limit = 256
    torch._dynamo.config.accumulated_recompile_limit = 1024
    return torch.compile(flex_attention, dynamic=False, fullgraph=True)


def _less_lse(lse: Tensor) -> Callable:
    def score(score: Any, b: Any, h: Any, column: Any, row: Any) -> Any:
        return score - lse[b, h, row]

    return score


def two_call_flex(case: Case, data: Inputs) -> Call:
    """flex_attention for lse, then with keys as rows: its logsumexp of (logit - lse) is the log of a column's sum."""
    from torch.nn.attention.flex_attention import AuxRequest, create_block_mask

    first_row = case.keys - case.rows

    def causal(b: Any, h: Any, row: Any, column: Any) -> Any:
        return column <= row + first_row

    block_mask = create_block_mask(causal, None, None, case.rows, case.keys, device=data.query_start.device)
    flex = partial(_compiled_flex(), return_aux=AuxRequest(lse=True))
    column = slice(case.column_start, case.column_start + case.columns)

    def call() -> Tensor:
        means = []
        for query, key in zip(data.queries, data.keys, strict=True):
            _, rows = flex(query, key, key, block_mask=block_mask, enable_gqa=True)
            columns = key[:, :, column].repeat_interleave(case.group_size, dim=1)
            _, sums = flex(columns, query, query, score_mod=_less_lse(rows.lse))
            means.append(sums.lse.exp().mean(1) / case.rows)
        return torch.stack(means).mean(0)

    return call


def providers(case: Case, data: Inputs) -> dict[str, Callable[[], Call]]:
    """Name -> what builds the call. On a CPU only what runs there."""
    found: dict[str, Callable[[], Call]] = {}
    on_gpu = data.query_start.device.type == "cuda"
    for backend in ("cuda", "triton", "torch") if on_gpu else ("torch",):
        if backends.limit("column_sums", backend, data.queries, data.keys, {}) is None:
            found[f"ours ({backend})"] = partial(ours, backend, case, data)
            if case.one_clip:
                found[f"ours ({backend}), in blocks"] = partial(ours_in_blocks, backend, case, data)
            if backend != "torch":
                found[f"ours ({backend}), lse given"] = partial(ours_given_lse, backend, case, data)
    found["eager softmax"] = partial(eager_softmax, case, data)
    if on_gpu:
        found["grid a query head (as FlagAttention)"] = partial(per_head_grid, case, data, False)
        found["expanded copies (as keys_values)"] = partial(per_head_grid, case, data, True)
        found["two-call flex_attention"] = partial(two_call_flex, case, data)
    return found
