"""Who computes a decode step in the comparison: our backends, scoring or not, and plain decode kernels."""

import importlib.util
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.kernels.column_sum_providers import Call, Inputs, _compiled_flex
from benchmarks.kernels.in_blocks import BLOCK_SIZE, in_blocks
from benchmarks.kernels.shapes import Case
from rlivs_kernels import backends, decode_attention


def ours(backend: str, scored: bool, case: Case, data: Inputs) -> Call:
    query, (key, value) = data.queries[0], data.keys
    if not scored:
        return partial(decode_attention, query, key, value, key_lengths=data.key_lengths, backend=backend)
    sums = torch.zeros(case.batch, case.columns, device=query.device)

    def call() -> tuple[Tensor, Tensor, Tensor]:
        out, lse = decode_attention(
            query,
            key,
            value,
            key_lengths=data.key_lengths,
            column_range=(data.column_start, case.columns),
            column_sums=sums,
            backend=backend,
        )
        return out, lse, sums

    return call


def ours_in_blocks(backend: str, case: Case, data: Inputs) -> Call:
    (key, value), table = in_blocks(data.keys)
    query, lengths = data.queries[0], data.key_lengths
    return partial(decode_attention, query, key, value, key_lengths=lengths, block_table=table, backend=backend)


def sdpa_flash(case: Case, data: Inputs) -> Call:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    query, (key, value) = data.queries[0], data.keys

    def call() -> Tensor:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return torch.nn.functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)

    return call


def sdpa(case: Case, data: Inputs) -> Call:
    query, (key, value) = data.queries[0], data.keys
    return lambda: torch.nn.functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)


def eager(case: Case, data: Inputs) -> Call:
    query, (key, value) = data.queries[0], data.keys

    def call() -> Tensor:
        keys, values = (t.repeat_interleave(case.group_size, dim=1) for t in (key, value))
        logits = query @ keys.transpose(2, 3) * case.model.head_dim**-0.5
        return logits.softmax(-1, dtype=torch.float32).to(query.dtype) @ values

    return call


def flex_decoding(case: Case, data: Inputs) -> Call:
    """Query heads are padded with zeros to a power of two a KV head, and the padding dropped from the output: for other
    groups Inductor takes its general kernel, which does not split the keys. The same keys and values are read."""
    query, (key, value) = data.queries[0], data.keys
    group, kv_heads = case.group_size, case.model.num_kv_heads
    padded = 1 << (group - 1).bit_length()
    packed = query.unflatten(1, (kv_heads, group))
    rows = torch.nn.functional.pad(packed, (0, 0, 0, 0, 0, padded - group)).flatten(1, 2)
    step = partial(_compiled_flex(), rows, key, value, enable_gqa=True)
    if padded == group:
        return step
    return lambda: step().unflatten(1, (kv_heads, padded))[:, :, :group].flatten(1, 2)


def flashinfer_single(case: Case, data: Inputs) -> Call:
    """On tensor cores, as in blocks: its other kernel takes no group of 7."""
    import flashinfer

    query, (key, value) = data.queries[0], data.keys
    rows, keys, values = query[0, :, 0], key[0], value[0]

    def call() -> Tensor:
        return flashinfer.single_decode_with_kv_cache(rows, keys, values, kv_layout="HND", use_tensor_cores=True)[
            None, :, None
        ]

    return call


def flashinfer_in_blocks(case: Case, data: Inputs) -> Call:
    import flashinfer

    (key, value), table = in_blocks(data.keys)
    a_row = table.shape[1]
    workspace = torch.empty(128 * 2**20, dtype=torch.uint8, device=key.device)
    wrapper = flashinfer.BatchDecodeWithPagedKVCacheWrapper(workspace, "NHD", use_tensor_cores=True)
    wrapper.plan(
        a_row * torch.arange(case.batch + 1, dtype=torch.int32, device=key.device),
        table.flatten(),
        torch.full_like(data.key_lengths, case.keys - (a_row - 1) * BLOCK_SIZE),
        case.model.num_heads,
        case.model.num_kv_heads,
        case.model.head_dim,
        BLOCK_SIZE,
        q_data_type=key.dtype,
        kv_data_type=key.dtype,
    )
    rows, caches = data.queries[0][:, :, 0], (key.transpose(1, 2), value.transpose(1, 2))
    return lambda: wrapper.run(rows, caches)[:, :, None]


def flash_attn(case: Case, data: Inputs) -> Call:
    from flash_attn import flash_attn_with_kvcache

    query = data.queries[0].transpose(1, 2)
    key, value = (t.transpose(1, 2) for t in data.keys)

    def call() -> Tensor:
        return flash_attn_with_kvcache(query, key, value, cache_seqlens=data.key_lengths).transpose(1, 2)

    return call


def flash_attn_in_blocks(case: Case, data: Inputs) -> Call:
    from flash_attn import flash_attn_with_kvcache

    (key, value), table = in_blocks(data.keys, 256)  # the least that it takes
    query, lengths = data.queries[0].transpose(1, 2), data.key_lengths
    keys, values = key.transpose(1, 2), value.transpose(1, 2)

    def call() -> Tensor:
        out = flash_attn_with_kvcache(query, keys, values, cache_seqlens=lengths, block_table=table)
        return out.transpose(1, 2)

    return call


def missing() -> list[str]:
    """A line for each peer that is not installed."""
    peers = ("flashinfer", "flash_attn")
    return [f"{peer}: not installed, left out" for peer in peers if not importlib.util.find_spec(peer)]


def providers(case: Case, data: Inputs) -> dict[str, Callable[[], Call]]:
    """Name -> what builds the call. On a CPU only what runs there."""
    found: dict[str, Callable[[], Call]] = {}
    on_gpu = data.key_lengths.device.type == "cuda"
    for backend in ("cuda", "triton", "torch") if on_gpu else ("torch",):
        if backends.limit("decode_attention", backend, data.queries[:1], data.keys[:1], {}) is None:
            found[f"ours ({backend})"] = partial(ours, backend, False, case, data)
            found[f"ours ({backend}), scoring"] = partial(ours, backend, True, case, data)
            if case.one_clip:
                found[f"ours ({backend}), in blocks"] = partial(ours_in_blocks, backend, case, data)
    if not on_gpu:
        found["SDPA"] = partial(sdpa, case, data)
        found["eager"] = partial(eager, case, data)
        return found
    found["SDPA, flash backend"] = partial(sdpa_flash, case, data)
    found["eager"] = partial(eager, case, data)
    found["flex-decoding"] = partial(flex_decoding, case, data)
    if importlib.util.find_spec("flashinfer"):
        if case.batch == 1:
            found["FlashInfer"] = partial(flashinfer_single, case, data)
        found[f"FlashInfer, in blocks of {BLOCK_SIZE}"] = partial(flashinfer_in_blocks, case, data)
    if importlib.util.find_spec("flash_attn"):
        found["flash-attn"] = partial(flash_attn, case, data)
        if case.one_clip:
            found["flash-attn, in blocks of 256"] = partial(flash_attn_in_blocks, case, data)
    return found
