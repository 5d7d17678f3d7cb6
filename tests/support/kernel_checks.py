"""What must hold of every kernel, as functions of an operation: shared by all backends and by the wrong kernels.

Every check takes `op`, called as rlivs_kernels.attention_column_sums (or decode_attention), a device and a dtype, and
raises AssertionError where the kernel is wrong. Shapes are small: Triton's interpreter runs them too.
"""

from functools import partial

import torch

from rlivs_kernels import select_top_tokens
from rlivs_kernels.ops.column_sums.reference import (
    attention_column_sums_reference,
    attention_logits,
    log_sum_exp,
    visible_keys,
)
from rlivs_kernels.ops.decode_attention.reference import decode_attention_reference

# Relative error of what is accumulated in float32 (float64 for float64 inputs): column sums and lse.
TOLERANCES = {torch.float16: 1e-4, torch.bfloat16: 1e-4, torch.float32: 1e-4, torch.float64: 1e-10}


def tensors(device, dtype, *, batch=2, heads=(7, 1), rows=5, keys=150, dim=64, layers=1, seed=0):
    """Queries and keys as lists of layers; keys are views of a [B, S, H, D] cache. Logits are about normal."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator).to(dtype).to(device)

    queries = [normal(batch, heads[0], rows, dim) for _ in range(layers)]
    return queries, [normal(batch, keys, heads[1], dim).transpose(1, 2) for _ in range(layers)]


def tensor(values, device):
    return torch.tensor(values, dtype=torch.int32, device=device)


def assert_accurate(actual, truth, dtype):
    """Relative error within the table; below 1e-9 of the largest value it is the absolute error that counts."""
    largest = truth.abs().max().item()
    torch.testing.assert_close(actual.double(), truth, rtol=TOLERANCES[dtype], atol=1e-9 * max(1.0, largest))


def assert_logarithms_accurate(actual, truth, dtype):
    """Absolute error within a tenth of the table: an lse that is off by e makes every weight off by a factor of 1 + e.
    A relative bound would ask for any number of digits of an lse near 0."""
    torch.testing.assert_close(actual.double(), truth, rtol=0, atol=TOLERANCES[dtype] / 10)


def assert_within_twice_torch(actual, same_dtype, truth):
    """FlashAttention's rule: no further from the truth than twice the error of torch in the inputs' dtype."""
    allowed = 2 * (same_dtype.double() - truth).abs().max().item() + 1e-5
    error = (actual.double() - truth).abs().max().item()
    assert error <= allowed, f"error {error:.2e}, allowed {allowed:.2e}"


def compare(op, query, key, **options):
    """The result, held to both rules against float64."""
    dtype = query[0].dtype if isinstance(query, list) else query.dtype
    actual = op(query, key, **options)
    truth = attention_column_sums_reference(query, key, dtype=torch.float64, **options)
    assert actual.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert_accurate(actual, truth, dtype)
    assert_within_twice_torch(actual, attention_column_sums_reference(query, key, dtype=dtype, **options), truth)
    return actual


def natural_lse(query, key, query_start, key_start=None, softcap=None, sliding_window=None):
    visible = visible_keys(query_start, key_start, query.shape[2], key.shape[2], sliding_window)[:, None]
    logits = attention_logits(query.double(), key.double(), query.shape[3] ** -0.5, softcap)
    return log_sum_exp(logits.masked_fill(~visible, -torch.inf))


def in_blocks(caches, size, shared=0):
    """Caches [B, Hkv, S, D] of the same keys' layers in blocks of `size`, with their table; the second batch row has
    the first's first `shared` blocks, as sequences with a common beginning do. What is no key's is NaN, and the table
    goes on with numbers of no block."""
    batch, heads, keys, dim = caches[0].shape
    row = -(-keys // size)
    generator = torch.Generator().manual_seed(size)
    table = torch.randperm(batch * row + 3, generator=generator)[: batch * row].view(batch, row)
    if shared:
        table[1, :shared] = table[0, :shared]
    blocks = []
    for cache in caches:
        padded = torch.full((batch, heads, row * size, dim), torch.nan, dtype=cache.dtype, device=cache.device)
        padded[:, :, :keys] = cache
        blocks.append(
            torch.full((batch * row + 3, size, heads, dim), torch.nan, dtype=cache.dtype, device=cache.device)
        )
        blocks[-1][table.flatten().to(cache.device)] = (
            padded.unflatten(2, (row, size)).permute(0, 2, 3, 1, 4).flatten(0, 1)
        )
    beyond = torch.tensor([[-1, 2**30]]).expand(batch, 2)
    return [each.transpose(1, 2) for each in blocks], tensor(torch.cat([table, beyond], 1).tolist(), caches[0].device)


# Attention column sums


def matches_the_reference(op, device, dtype):
    query, key = tensors(device, dtype)
    compare(op, query[0], key[0], column_range=(3, 140), query_start=145)


def serves_group(op, device, dtype, heads, rows, keys, dim):
    query, key = tensors(device, dtype, batch=1, heads=heads, rows=rows, keys=keys, dim=dim)
    compare(op, query[0], key[0], column_range=(0, max(1, keys - rows)), query_start=keys - rows)


def a_row_gives_one_in_all(op, device, dtype):
    query, key = tensors(device, dtype, rows=1)
    sums = op(
        query[0], key[0], column_range=(0, 150), query_start=tensor([149, 97], device), per_head=True, reduction="sum"
    )
    torch.testing.assert_close(sums.sum(2), torch.ones_like(sums[..., 0]), rtol=1e-5, atol=0)
    assert (sums[1, :, 98:] == 0).all()


def permuted_keys_permute_sums(op, device, dtype):
    query, key = tensors(device, dtype)
    order = torch.randperm(150, generator=torch.Generator().manual_seed(1)).to(device)
    options = {"column_range": (0, 150), "query_start": 150}
    sums = op(query[0], key[0], **options)
    permuted = op(query[0], key[0][:, :, order], **options)
    torch.testing.assert_close(permuted, sums[:, order], rtol=1e-5, atol=1e-9)


def row_ranges_add_up(op, device, dtype):
    query, key = tensors(device, dtype, rows=9)
    options = {"column_range": (10, 148), "reduction": "sum"}
    whole = op(query[0], key[0], query_start=140, **options)
    first = op(query[0][:, :, :4], key[0], query_start=140, **options)
    rest = op(query[0][:, :, 4:], key[0], query_start=144, **options)
    torch.testing.assert_close(first + rest, whole, rtol=1e-5, atol=1e-9)


def batch_rows_do_not_see_each_other(op, device, dtype):
    query, key = tensors(device, dtype)
    starts = tensor([120, 140], device)
    before = op(query[0], key[0], column_range=(0, 120), query_start=starts)
    query[0][1] += 3
    key[0][1] -= 2
    after = op(query[0], key[0], column_range=(0, 120), query_start=starts)
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def padded_equals_unpadded(op, device, dtype):
    """Left padding may hold anything, NaN too."""
    query, key = tensors(device, dtype, batch=1)
    plain = op(query[0], key[0], column_range=(4, 130), query_start=144)
    garbage = torch.full((1, 1, 23, 64), torch.nan, dtype=dtype, device=device)
    padded = torch.cat([garbage, key[0]], dim=2)
    sums = op(query[0], padded, column_range=(27, 153), query_start=167, key_start=23)
    torch.testing.assert_close(sums, plain, rtol=1e-5, atol=1e-9)
    # Columns before key_start are no columns.
    early = op(query[0], padded, column_range=(20, 30), query_start=167, key_start=tensor([23], device))
    assert (early[:, :3] == 0).all() and (early[:, 3:] > 0).all()


def assert_same(op, actual, expected):
    """The same bits from our kernels. Libraries that torch calls choose an algorithm by layout, and with it how float32
    sums are rounded, and to which of two neighbours a half."""
    if op.keywords["backend"] in ("triton", "cuda"):
        assert torch.equal(actual, expected)
    else:
        rounding = max(1e-5, torch.finfo(actual.dtype).eps)
        torch.testing.assert_close(actual, expected, rtol=rounding, atol=1e-6 * expected.abs().max().item())


def turned(op, tensor):
    """The same values with a strided head size; as they are for the cuda backend, which refuses such tensors."""
    return tensor if op.keywords["backend"] == "cuda" else tensor.transpose(2, 3).contiguous().transpose(2, 3)


def strides_do_not_change_bits(op, device, dtype):
    query, key = tensors(device, dtype, heads=(4, 2))
    options = {"column_range": (5, 140), "query_start": 145}
    expected = op(query[0].contiguous(), key[0].contiguous(), **options)
    cache = torch.full((2, 2, 400, 64), torch.nan, dtype=dtype, device=device)
    cache[:, :, :150] = key[0]
    strided = query[0].transpose(1, 2).contiguous().transpose(1, 2)
    layouts = [
        (strided, key[0]),
        (query[0], cache[:, :, :150]),
        (turned(op, query[0]), turned(op, key[0])),
    ]
    for other_query, other_key in layouts:
        assert_same(op, op(other_query, other_key, **options), expected)


def masked_rows_count_for_nothing(op, device, dtype):
    """A ragged batch equals its rows one by one, whatever the masked rows hold; a row without any gives zeros."""
    query, key = tensors(device, dtype, batch=3)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 1, 1, 1], [0, 0, 0, 0, 0]], dtype=torch.bool, device=device)
    query[0].masked_fill_(~mask[:, None, :, None], torch.nan)
    sums = op(query[0], key[0], column_range=(0, 140), query_start=145, row_mask=mask)
    alone = op(query[0][:1, :, :3], key[0][:1], column_range=(0, 140), query_start=145)
    torch.testing.assert_close(sums[:1], alone, rtol=1e-5, atol=1e-9)
    kept = [
        op(query[0][1:2, :, t : t + 1], key[0][1:2], column_range=(0, 140), query_start=145 + t) for t in (0, 2, 3, 4)
    ]
    torch.testing.assert_close(sums[1:2], sum(kept) / 4, rtol=1e-5, atol=1e-9)
    assert (sums[2] == 0).all()


def given_lse_spares_pass_a(op, device, dtype):
    query, key = tensors(device, dtype)
    starts = tensor([140, 100], device)
    lse = natural_lse(query[0], key[0], starts).float()
    compare(op, query[0], key[0], column_range=(3, 149), query_start=starts, lse=lse)


def columns_that_rows_see_in_part(op, device, dtype):
    """Causality inside the column range: columns among the rows themselves, and beyond them."""
    query, key = tensors(device, dtype, rows=40)
    sums = compare(op, query[0], key[0], column_range=(60, 150), query_start=tensor([80, 3], device))
    assert (sums[0, 60:] == 0).all() and (sums[0, :60] > 0).all() and (sums[1] == 0).all()


def starts_per_batch_row(op, device, dtype):
    """Each batch row has its own columns; those that are no keys score 0."""
    query, key = tensors(device, dtype)
    starts = tensor([120, -10], device)
    sums = compare(op, query[0], key[0], column_range=(starts, 60), query_start=145)
    assert (sums[0, 30:] == 0).all() and (sums[1, :10] == 0).all() and (sums[1, 10:] > 0).all()


def extreme_logits_stay_finite(op, device, dtype):
    """Logits of +-1e4: the row's whole weight falls on its highest key."""
    query = torch.zeros(1, 2, 1, 64, dtype=dtype, device=device)
    key = torch.zeros(1, 1, 150, 64, dtype=dtype, device=device)
    query[0, :, 0, 0] = 100
    key[0, 0, :, 0] = torch.linspace(-100, 99, 150).to(dtype).to(device)
    key[0, 0, 77, 0] = 100
    sums = op(query, key, column_range=(0, 150), query_start=150, scale=1.0)
    assert sums.isfinite().all()
    # A float32 lse of 1e4 is a multiple of 2^-10, so a weight may be off by half of that.
    torch.testing.assert_close(sums[0, 77], torch.ones_like(sums[0, 77]), rtol=5e-4, atol=0)
    lowest = op(query, -key.abs(), column_range=(0, 150), query_start=150, scale=1.0)
    assert lowest.isfinite().all()
    torch.testing.assert_close(lowest.sum(), torch.ones_like(lowest.sum()), rtol=1e-3, atol=0)


def rising_logits_are_rescaled(op, device, dtype):
    """Each key outweighs the ones before it, so a running maximum that is not rescaled is wrong by e^20."""
    query, key = tensors(device, dtype)
    query[0][..., 0] = 8
    key[0][..., 0] = torch.linspace(0, 20, 150).to(dtype).to(device)
    compare(op, query[0], key[0], column_range=(0, 150), query_start=149)


def reductions_agree(op, device, dtype):
    query, key = tensors(device, dtype, batch=1, heads=(4, 2))
    options = {"column_range": (0, 145), "query_start": 143}
    total = compare(op, query[0], key[0], reduction="sum", **options)
    apart = compare(op, query[0], key[0], reduction="sum", per_head=True, **options)
    torch.testing.assert_close(apart.sum(1), total, rtol=1e-5, atol=1e-9)
    mean = compare(op, query[0], key[0], reduction="mean", **options)
    torch.testing.assert_close(mean * 20, total, rtol=1e-5, atol=1e-9)
    means = compare(op, query[0], key[0], reduction="mean", per_head=True, **options)
    torch.testing.assert_close(means.mean(1), mean, rtol=1e-5, atol=1e-9)
    highest = compare(op, query[0], key[0], reduction="max", **options)
    each = compare(op, query[0], key[0], reduction="max", per_head=True, **options)
    torch.testing.assert_close(each.amax(1), highest, rtol=1e-5, atol=1e-9)


def softcap_and_window(op, device, dtype):
    query, key = tensors(device, dtype, rows=20)
    query[0] *= 4
    options = {"column_range": (20, 145), "query_start": tensor([128, 60], device)}
    compare(op, query[0], key[0], softcap=3.0, **options)
    compare(op, query[0], key[0], softcap=200.0, **options)
    windowed = compare(op, query[0], key[0], sliding_window=50, key_start=[0, 30], **options)
    assert (windowed[0, :59] == 0).all() and (windowed[0, 59:] > 0).all()
    compare(op, query[0], key[0], sliding_window=7, softcap=5.0, reduction="max", **options)


def far_away_is_as_far_as_it_gets(op, device, dtype):
    """Positions and windows that int32 does not hold, or not times the group: as those just beyond the cache."""
    query, key = tensors(device, dtype)
    options = {"column_range": (60, 145), "row_mask": tensor([[1, 0, 1, 1, 0], [1, 1, 1, 0, 1]], device).bool()}
    near = op(query[0], key[0], query_start=150, **options)
    assert (near > 0).all()
    assert torch.equal(op(query[0], key[0], query_start=150, sliding_window=2**40, **options), near)
    both_ends = ([2**40, -(2**40)], tensor([2**31 - 1, -(2**31)], device), [2**29, -(2**29)])
    for starts, window in zip(both_ends, (None, None, 2**29 + 100), strict=True):
        sums = op(query[0], key[0], query_start=starts, sliding_window=window, **options)
        assert torch.equal(sums[0], near[0]) and (sums[1] == 0).all()
    compare(op, query[0], key[0], query_start=[2000, 2100], sliding_window=1950, **options)


def caches_in_blocks(op, device, dtype):
    """Blocks of any size, in any order, in both layouts: the sums of the cache in one piece."""
    query, key = tensors(device, dtype, heads=(4, 2), layers=2)
    plain = {"column_range": (3, 149), "query_start": tensor([141, 90], device)}
    every = {"key_start": [0, 20], "softcap": 5.0, "sliding_window": 70, "reduction": "max", "per_head": True}
    for each in key:
        each[1, :, :64] = each[0, :, :64]
    for size, shared, heads_first, options in ((7, 0, True, plain), (64, 1, False, plain), (16, 4, False, every)):
        options = {**plain, **options}
        blocks, table = in_blocks(key, size, shared)
        if heads_first:
            blocks = [each.contiguous() for each in blocks]
        truth = attention_column_sums_reference(query, key, dtype=torch.float64, **options)
        assert_accurate(op(query, blocks, block_table=table, **options), truth, dtype)


def layers_are_averaged(op, device, dtype):
    """Five layers, one of another layout: more than one launch serves."""
    query, key = tensors(device, dtype, batch=1, heads=(2, 1), layers=5)
    key[2] = key[2].transpose(1, 2).contiguous().transpose(1, 2).repeat(1, 1, 2, 1)[:, :, :150]
    key[3] = turned(op, key[3])
    options = {"column_range": (0, 140), "query_start": 145}
    together = compare(op, query, key, **options)
    apart = [op(q, k, **options) for q, k in zip(query, key, strict=True)]
    torch.testing.assert_close(together, sum(apart) / 5, rtol=1e-5, atol=1e-9)
    lse = [natural_lse(q, k, tensor([145], device)).float() for q, k in zip(query, key, strict=True)]
    torch.testing.assert_close(op(query, key, lse=lse, **options), together, rtol=1e-4, atol=1e-9)


def nan_stays_in_its_row_and_head(op, device, dtype):
    """NaN or infinity reaches all columns of its batch row and head (a key's: of its group's heads), and no other."""
    query, key = tensors(device, dtype, heads=(4, 2), rows=3, keys=40)
    options = {"column_range": (0, 38), "query_start": tensor([36, 20], device), "per_head": True}
    seen = 23  # columns that some row of the second batch row sees
    clean = {reduction: op(query[0], key[0], reduction=reduction, **options) for reduction in ("sum", "max")}
    cases = [("query", torch.nan, "sum"), ("query", torch.nan, "max"), ("key", torch.nan, "sum")]
    cases += [("key", torch.inf, "sum"), ("key", torch.inf, "max")]
    for place, poison, reduction in cases:
        bad_query, bad_key = query[0].clone(), key[0].clone()
        if place == "query":
            bad_query[1, 1, 2, 5] = poison
        else:
            bad_key[1, 1, 10, 5] = poison
        sums = op(bad_query, bad_key, reduction=reduction, **options)
        reached = [1] if place == "query" else [2, 3]
        for head in range(4):
            assert torch.equal(sums[0, head], clean[reduction][0, head]), (place, poison)
            if head not in reached:
                assert torch.equal(sums[1, head], clean[reduction][1, head]), (place, poison)
            elif poison != torch.inf:
                assert sums[1, head, :seen].isnan().all(), (place, poison)
        # Rows that an infinite logit lifts above all others are NaN, those it buries are not: key 10 does both.
        assert sums[1, reached, :seen].isnan().any(), (place, poison)
    unseen = key[0].clone()
    unseen[1, :, seen:] = torch.nan
    assert torch.equal(op(query[0], unseen, reduction="sum", **options), clean["sum"])


def the_same_top_tokens(op, device, dtype):
    query, key = tensors(device, dtype, rows=12, layers=2)
    query = [4 * q for q in query]
    options = {"column_range": (2, 130), "query_start": 137}
    truth = attention_column_sums_reference(query, key, dtype=torch.float64, **options)
    assert torch.equal(select_top_tokens(op(query, key, **options), 16), select_top_tokens(truth, 16))


def the_same_bits_again(op, device, dtype):
    query, key = tensors(device, dtype, rows=12, layers=2)
    first = op(query, key, column_range=(2, 130), query_start=137)
    assert torch.equal(op(query, key, column_range=(2, 130), query_start=137), first)


COLUMN_SUM_CHECKS = [
    matches_the_reference,
    a_row_gives_one_in_all,
    permuted_keys_permute_sums,
    row_ranges_add_up,
    batch_rows_do_not_see_each_other,
    padded_equals_unpadded,
    strides_do_not_change_bits,
    masked_rows_count_for_nothing,
    given_lse_spares_pass_a,
    columns_that_rows_see_in_part,
    starts_per_batch_row,
    extreme_logits_stay_finite,
    rising_logits_are_rescaled,
    reductions_agree,
    softcap_and_window,
    far_away_is_as_far_as_it_gets,
    caches_in_blocks,
    layers_are_averaged,
    nan_stays_in_its_row_and_head,
    the_same_top_tokens,
    the_same_bits_again,
]


# Scoring decode attention


def step_tensors(device, dtype, *, batch=2, heads=(7, 1), keys=150, dim=64, seed=0):
    queries, caches = tensors(device, dtype, batch=batch, heads=heads, rows=1, keys=keys, dim=dim, layers=2, seed=seed)
    return queries[0], caches[0], caches[1]


def compare_step(op, query, key, value, *, columns=None, key_lengths, **options):
    """Out, lse and added sums, held to float64; out to FlashAttention's rule."""
    dtype = query.dtype
    accumulator = torch.float64 if dtype == torch.float64 else torch.float32
    batch = query.shape[0]

    def step(call, sums_dtype, **more):
        sums = None if columns is None else torch.zeros((batch, columns[1]), dtype=sums_dtype, device=query.device)
        out, lse = call(
            query, key, value, key_lengths=key_lengths, column_sums=sums, column_range=columns, **options, **more
        )
        return out, lse, sums

    out, lse, sums = step(op, accumulator)
    true_out, true_lse, true_sums = step(decode_attention_reference, torch.float64, dtype=torch.float64)
    torch_out, _, _ = step(decode_attention_reference, accumulator, dtype=dtype)
    assert out.dtype == dtype and lse.dtype == accumulator
    assert_within_twice_torch(out, torch_out.to(dtype), true_out)
    assert_logarithms_accurate(lse, true_lse, dtype)
    if sums is not None:
        assert_accurate(sums, true_sums, dtype)
    return out, lse, sums


def step_matches_the_reference(op, device, dtype):
    query, key, value = step_tensors(device, dtype)
    lengths = tensor([150, 71], device)
    compare_step(op, query, key, value, key_lengths=lengths)
    compare_step(op, query, key, value, key_lengths=lengths, columns=(tensor([3, 20], device), 60))


def step_serves_group(op, device, dtype, heads, keys, dim):
    query, key, value = step_tensors(device, dtype, batch=1, heads=heads, keys=keys, dim=dim)
    compare_step(op, query, key, value, key_lengths=keys, columns=(tensor([0], device), keys))


def step_gives_one_a_head(op, device, dtype):
    query, key, value = step_tensors(device, dtype)
    sums = torch.zeros(2, 150, dtype=torch.float64 if dtype == torch.float64 else torch.float32, device=device)
    for _ in range(3):
        op(query, key, value, key_lengths=tensor([150, 80], device), column_sums=sums)
    torch.testing.assert_close(sums.sum(1), torch.full_like(sums[:, 0], 21.0), rtol=1e-5, atol=0)
    assert (sums[1, 80:] == 0).all()


def step_ignores_what_it_does_not_see(op, device, dtype):
    """NaN beyond the lengths and in left padding; a row of no keys gives zeros and adds nothing."""
    query, key, value = step_tensors(device, dtype, batch=3)
    lengths, starts = tensor([140, 90, 0], device), tensor([0, 33, 0], device)
    for cache in (key, value):
        cache[0, :, 140:] = torch.nan
        cache[1, :, 90:] = torch.nan
        cache[1, :, :33] = torch.nan
        cache[2] = torch.nan
    columns = (tensor([100, 20, 0], device), 50)
    out, lse, sums = compare_step(op, query, key, value, key_lengths=lengths, key_start=starts, columns=columns)
    assert (out[2] == 0).all() and (lse[2] == -torch.inf).all()
    assert (sums[2] == 0).all() and (sums[1, :13] == 0).all() and (sums[0, 40:] == 0).all()


def step_scoring_does_not_change_the_output(op, device, dtype):
    query, key, value = step_tensors(device, dtype)
    plain = op(query, key, value, key_lengths=149)
    sums = torch.zeros(2, 100, dtype=torch.float64 if dtype == torch.float64 else torch.float32, device=device)
    scored = op(query, key, value, key_lengths=149, column_sums=sums, column_range=(7, 107))
    assert torch.equal(plain[0], scored[0]) and torch.equal(plain[1], scored[1])


def step_rescales_rising_logits(op, device, dtype):
    query, key, value = step_tensors(device, dtype)
    query[..., 0] = 8
    key[..., 0] = torch.linspace(0, 20, 150).to(dtype).to(device)
    compare_step(op, query, key, value, key_lengths=150, columns=(tensor([0, 0], device), 150))


def step_survives_extremes(op, device, dtype):
    query, key, value = step_tensors(device, dtype, heads=(2, 1))
    query[..., 0], query[..., 1:] = 100, 0
    key[..., 0] = torch.linspace(-100, 99, 150).to(dtype).to(device)
    key[..., 77, 0] = 100
    out, lse = op(query, key, value, key_lengths=150, scale=1.0)
    assert out.isfinite().all() and lse.isfinite().all()
    torch.testing.assert_close(out[:, 0, 0], value[:, 0, 77], rtol=1e-2, atol=1e-3)


def step_reads_caches_in_blocks(op, device, dtype):
    query, key, value = step_tensors(device, dtype, heads=(4, 2))
    columns = (tensor([3, 20], device), 60)
    every = {"key_start": [3, 0], "softcap": 5.0, "sliding_window": 70}
    for size, heads_first, options in ((7, True, {}), (64, False, {}), (16, False, every)):
        (keys, values), table = in_blocks([key, value], size)
        if heads_first:
            keys = keys.contiguous()
        call = partial(op, key_lengths=tensor([150, 71], device), column_range=columns, **options)
        sums = torch.zeros(2, 60, dtype=torch.float64 if dtype == torch.float64 else torch.float32, device=device)
        in_one_piece = sums.clone()
        out, lse = call(query, keys, values, block_table=table, column_sums=sums)
        # of as many keys, since they decide in how many parts a GPU takes them
        unused = torch.full((2, 2, table.shape[1] * size - 150, 64), torch.nan, dtype=dtype, device=device)
        whole = [torch.cat([cache, unused], dim=2) for cache in (key, value)]
        expected = call(query, *whole, column_sums=in_one_piece)
        assert_same(op, out, expected[0])
        assert_same(op, lse, expected[1])
        assert_same(op, sums, in_one_piece)


def step_caps_and_windows(op, device, dtype):
    query, key, value = step_tensors(device, dtype)
    query = query * 4
    options = {"key_lengths": tensor([150, 60], device), "columns": (tensor([70, 3], device), 60)}
    compare_step(op, query, key, value, softcap=3.0, **options)
    compare_step(op, query, key, value, softcap=50.0, **options)
    _, _, sums = compare_step(op, query, key, value, sliding_window=50, key_start=[0, 30], **options)
    assert (sums[0, :30] == 0).all() and (sums[0, 30:] > 0).all() and (sums[1, :27] == 0).all()
    compare_step(op, query, key, value, sliding_window=7, softcap=5.0, **options)


def step_reads_any_layout(op, device, dtype):
    query, key, value = step_tensors(device, dtype, heads=(4, 2))
    expected = op(query, key.contiguous(), value.contiguous(), key_lengths=143)
    cache = torch.full((2, 2, 400, 64), torch.nan, dtype=dtype, device=device)
    cache[:, :, :150] = key
    for other_key, other_value in ((key, value), (cache[:, :, :150], value), (key, turned(op, value))):
        out, lse = op(query, other_key, other_value, key_lengths=143)
        assert_same(op, out, expected[0])
        assert_same(op, lse, expected[1])


def step_keeps_nan_in_its_row_and_head(op, device, dtype):
    """A query's NaN reaches its head, a key's its group's heads, a value's one dimension of their outputs."""
    tensors = dict(zip(("query", "key", "value"), step_tensors(device, dtype, heads=(4, 2)), strict=True))

    def step(**changed):
        sums = torch.zeros(2, 150, dtype=torch.float64 if dtype == torch.float64 else torch.float32, device=device)
        return *op(*{**tensors, **changed}.values(), key_lengths=150, column_sums=sums), sums

    clean_out, clean_lse, clean_sums = step()
    for place, poison in (("query", torch.nan), ("key", torch.nan), ("key", torch.inf), ("value", torch.nan)):
        bad = tensors[place].clone()
        bad[(1, 2, 0, 3) if place == "query" else (1, 1, 60, 3)] = poison
        out, lse, sums = step(**{place: bad})
        reached = torch.zeros(2, 4, dtype=torch.bool, device=device)
        reached[1, [2] if place == "query" else [2, 3]] = True
        assert torch.equal(out[~reached], clean_out[~reached]) and torch.equal(lse[~reached], clean_lse[~reached])
        assert torch.equal(sums[0], clean_sums[0])
        if place == "value":
            assert out[reached][..., 3].isnan().all() and torch.equal(out[..., :3], clean_out[..., :3])
            assert torch.equal(lse, clean_lse) and torch.equal(sums, clean_sums)
        elif poison != torch.inf:
            assert out[reached].isnan().all() and lse[reached].isnan().all() and sums[1].isnan().all()


def step_gives_the_same_bits_again(op, device, dtype):
    query, key, value = step_tensors(device, dtype)

    def step():
        sums = torch.zeros(2, 100, dtype=torch.float64 if dtype == torch.float64 else torch.float32, device=device)
        out, lse = op(query, key, value, key_lengths=149, column_sums=sums, column_range=(7, 107))
        return torch.cat([out.flatten().double(), lse.flatten().double(), sums.flatten().double()])

    first = step()
    assert all(torch.equal(step(), first) for _ in range(2))


DECODE_CHECKS = [
    step_matches_the_reference,
    step_gives_one_a_head,
    step_ignores_what_it_does_not_see,
    step_scoring_does_not_change_the_output,
    step_rescales_rising_logits,
    step_survives_extremes,
    step_caps_and_windows,
    step_reads_any_layout,
    step_reads_caches_in_blocks,
    step_keeps_nan_in_its_row_and_head,
    step_gives_the_same_bits_again,
]
