"""What the operations refuse: one line each, naming the cure."""

import pytest
import torch

from rlivs_kernels import attention_column_sums, decode_attention
from rlivs_kernels.ops.library import ieee_products

QUERY, KEY = torch.randn(2, 4, 3, 16), torch.randn(2, 2, 20, 16)
STEP = torch.randn(2, 4, 1, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": QUERY[0]}, r"pass \[B, Hq, T, D\]"),
        ({"query": [QUERY]}, "both be tensors or both be lists"),
        ({"query": [QUERY, QUERY], "key": [KEY]}, "one of each a layer"),
        ({"query": [], "key": []}, "one of each a layer"),
        ({"query": [QUERY, QUERY[:, :2]], "key": [KEY, KEY]}, "separate calls"),
        ({"query": QUERY[:1]}, "agree in batch and head size"),
        ({"query": QUERY[..., :8]}, "agree in batch and head size"),
        ({"query": QUERY[:, :, :0]}, "skip the call"),
        ({"query": QUERY[:, :3]}, "before repeat_kv"),
        ({"query": QUERY.half()}, "cast one of them"),
        ({"query": QUERY.int(), "key": KEY.int()}, "share one dtype of float16"),
        ({"reduction": "median"}, "use one of mean, sum, max"),
        ({"softcap": 0.0}, "pass None for no cap"),
        ({"scale": -1.0}, "scale must be positive"),
        ({"sliding_window": 0}, "pass None for no window"),
        ({"row_mask": torch.ones(2, 4, dtype=torch.bool)}, r"pass bool \[B, T\] = \[2, 3\]"),
        ({"row_mask": torch.ones(2, 3)}, r"pass bool \[B, T\]"),
        ({"lse": torch.zeros(2, 4, 2)}, "natural log"),
        ({"lse": [torch.zeros(2, 4, 3)] * 2}, "pass one a layer"),
        ({"lse": torch.zeros(2, 4, 3, device="meta")}, "lse lies on meta"),
        ({"scale": float("nan")}, "positive and finite"),
        ({"softcap": float("inf")}, "positive and finite"),
        ({"column_range": (3,)}, r"give \(start, stop\)"),
        ({"column_range": slice(0, 3)}, r"give \(start, stop\)"),
        ({"column_range": (0.0, 3.0)}, r"give \(start, stop\)"),
        ({"column_range": ([0.5, 0.5], 3)}, "must hold integers"),
        ({"query_start": 17.5}, "must hold integers"),
        ({"column_range": (3, 3)}, "holds no column"),
        ({"column_range": (-1, 3)}, "leaves the 20 keys"),
        ({"column_range": (0, 21)}, "leaves the 20 keys"),
        ({"column_range": ([0, 15], 6)}, "leave the 20 keys"),
        ({"column_range": ([0], 6)}, "one a batch row, 2"),
        ({"column_range": (torch.tensor([0, 1]), 0)}, "holds no column"),
        ({"query_start": torch.tensor([1.0, 2.0])}, "int32 or int64"),
        ({"query_start": torch.tensor([1, 2, 3])}, r"one entry a batch row, \[2\]"),
        ({"key_start": [0, 0, 0]}, "one a batch row, 2"),
        ({"block_table": [[0, 1]]}, "int32 tensor"),
        ({"block_table": torch.zeros(2, 3)}, "int32 tensor"),
        ({"block_table": torch.zeros(3, 3, dtype=torch.int32)}, r"pass \[B, M\] with B = 2"),
        ({"block_table": torch.zeros(2, 0, dtype=torch.int32)}, "M at least 1"),
        ({"block_table": torch.zeros(2, 1, dtype=torch.int32), "column_range": (0, 21)}, "leaves the 20 keys"),
        ({"block_table": torch.zeros(2, 1, dtype=torch.int32), "key": KEY[..., :8]}, "agree in head size"),
        ({"backend": "cudnn"}, "use one of auto, reference, torch, triton, cuda"),
    ],
)
def test_column_sums_refuse(change, message):
    call = {"query": QUERY, "key": KEY, "column_range": (0, 10), "query_start": 17, **change}
    with pytest.raises(ValueError, match=message) as caught:
        attention_column_sums(call.pop("query"), call.pop("key"), **call)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": QUERY}, r"one row a head, \[B, Hq, 1, D\]"),
        ({"value": KEY[:, :, :5]}, r"pass \[B, Hkv, S, D\]"),
        ({"query": STEP[:, :3]}, "before repeat_kv"),
        ({"query": STEP.half()}, "cast them"),
        ({"query": STEP[:0], "key": KEY[:0], "value": KEY[:0]}, "skip the call"),
        ({"scale": 0.0}, "scale must be positive"),
        ({"column_range": (0, 5)}, "without column_sums"),
        ({"column_sums": torch.zeros(1, 5)}, "with B = 2"),
        ({"column_sums": torch.zeros(2, 5, dtype=torch.float64)}, "allocate it so"),
        ({"column_sums": torch.zeros(5, 2).T}, "contiguous rows"),
        ({"column_sums": torch.zeros(1, 5).expand(2, 5)}, "rows of column_sums share memory"),
        ({"column_sums": torch.zeros(2, 5), "column_range": (0, 6)}, "make them equal"),
        ({"column_sums": torch.zeros(2, 21)}, "leaves the 20 keys"),
        ({"key_lengths": [20]}, "one a batch row, 2"),
        ({"softcap": -1.0}, "pass None for no cap"),
        ({"sliding_window": 0}, "pass None for no window"),
        ({"block_table": torch.zeros(1, 3, dtype=torch.int32)}, "with B = 2"),
        (
            {"block_table": torch.zeros(2, 1, dtype=torch.int32), "value": KEY[:1]},
            r"pass \[num_blocks, Hkv, block_size",
        ),
    ],
)
def test_decode_attention_refuses(change, message):
    call = {"query": STEP, "key": KEY, "value": KEY, "key_lengths": 20, **change}
    with pytest.raises(ValueError, match=message) as caught:
        decode_attention(call.pop("query"), call.pop("key"), call.pop("value"), **call)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [int, list, torch.int32, torch.int64, "scalar tensor"])
def test_ranges_may_be_ints_lists_or_tensors(kind):
    expected = attention_column_sums(QUERY, KEY, column_range=(2, 12), query_start=17, key_start=1)

    def given(value):
        if kind is int:
            return value
        if kind is list:
            return [value, value]
        if kind == "scalar tensor":
            return torch.tensor(value)
        return torch.tensor([value, value], dtype=kind)

    columns = (2, 12) if kind is int else (given(2), 10)
    sums = attention_column_sums(QUERY, KEY, column_range=columns, query_start=given(17), key_start=given(1))
    assert torch.equal(sums, expected)


@pytest.mark.parametrize("far", [2**31, 2**32 + 3, 2**40])
def test_positions_that_int32_cannot_hold(far):
    for sign in (1, -1):
        given, near = sign * far, sign * 100
        expected = attention_column_sums(QUERY, KEY, column_range=(0, 10), query_start=near)
        for start in (given, torch.tensor(given), torch.tensor([given] * 2)):
            assert torch.equal(attention_column_sums(QUERY, KEY, column_range=(0, 10), query_start=start), expected)
            out, _ = decode_attention(STEP, KEY, KEY, key_lengths=start)
            assert torch.equal(out, decode_attention(STEP, KEY, KEY, key_lengths=near)[0])


@pytest.mark.parametrize("backend", ["torch", "reference"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_precision_of_matrix_products_changes_nothing(backend, dtype):
    """Where a CPU multiplies bfloat16 in hardware, "medium" makes float32 products ones of bfloat16."""
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(1, 2, rows, 128, generator=generator).to(dtype) for rows in (64, 600))

    def both():
        out, lse = decode_attention(query[:, :, :1], key, key, key_lengths=600, backend=backend)
        return out, lse, attention_column_sums(query, key, column_range=(0, 500), query_start=536, backend=backend)

    expected = both()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        found = both()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    for given, right in zip(found, expected, strict=True):
        assert torch.equal(given, right)


def test_calls_side_by_side_give_the_precision_back_once():
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        with ieee_products("cpu"):
            with ieee_products("cpu"):
                assert matmul.fp32_precision == "ieee"
            assert matmul.fp32_precision == "ieee"
        assert matmul.fp32_precision == "bf16"
    finally:
        matmul.fp32_precision = before


@pytest.mark.parametrize("backend", ["torch", "reference"])
def test_autocast_changes_nothing(backend):
    def both():
        sums = torch.zeros(2, 20)
        out, _ = decode_attention(STEP, KEY, KEY, key_lengths=20, column_sums=sums, backend=backend)
        return out, sums, attention_column_sums(QUERY, KEY, column_range=(0, 9), query_start=17, backend=backend)

    expected = both()
    with torch.autocast("cpu", torch.bfloat16):
        for given, right in zip(both(), expected, strict=True):
            assert torch.equal(given, right)
