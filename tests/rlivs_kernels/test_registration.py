"""The operations as torch sees them: opcheck, torch.compile without graph breaks, fake tensors."""

import pytest
import torch

from rlivs_kernels import attention_column_sums, decode_attention

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def integers(device, *values):
    return torch.tensor(values, dtype=torch.int32, device=device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("options", [("mean", False), ("sum", True), ("max", False)])
def test_opcheck_of_column_sums(device, layers, options):
    query = [torch.randn(2, 4, 3, 64, device=device) for _ in range(layers)]
    key = [torch.randn(2, 20, 2, 64, device=device).transpose(1, 2) for _ in range(layers)]
    lse = [torch.zeros(2, 4, 3, device=device) for _ in range(layers)] if options[0] == "sum" else []
    mask = torch.ones(2, 3, dtype=torch.bool, device=device)
    starts, rows = integers(device, 2, 4), integers(device, 17, 15)
    torch.library.opcheck(
        torch.ops.rlivs_kernels.attention_column_sums,
        (query, key, starts, 11, rows, None, lse, mask, None, 0.2, 5.0, 9, *options, "auto"),
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("scored", [False, True])
def test_opcheck_of_decode_attention(device, scored):
    query, key = torch.randn(2, 4, 1, 64, device=device), torch.randn(2, 2, 20, 64, device=device)
    sums = torch.zeros(2, 9, device=device) if scored else None
    starts = integers(device, 1, 3) if scored else None
    torch.library.opcheck(
        torch.ops.rlivs_kernels.decode_attention,
        (query, key, key, integers(device, 20, 13), None, starts, sums, None, 0.2, 5.0, 9, "auto"),
    )


@pytest.mark.parametrize("device", DEVICES)
def test_caches_in_blocks_pass_opcheck_and_compile_without_a_break(device):
    query, blocks = torch.randn(2, 4, 3, 64, device=device), torch.randn(9, 4, 2, 64, device=device).transpose(1, 2)
    table, lengths = integers(device, 8, 1, 0, 3, 5, 2).view(2, 3), integers(device, 11, 9)
    sums = torch.zeros(2, 9, device=device)
    torch.library.opcheck(
        torch.ops.rlivs_kernels.attention_column_sums,
        ([query], [blocks], lengths - 9, 9, lengths, None, [], None, table, 0.2, None, None, "mean", False, "auto"),
    )
    step = query[:, :, :1]
    torch.library.opcheck(
        torch.ops.rlivs_kernels.decode_attention,
        (step, blocks, blocks, lengths, None, lengths - 9, sums, table, 0.2, None, None, "auto"),
    )

    def scored(query, blocks, table):
        sums = torch.zeros(2, 9, device=device)
        call = {"block_table": table, "column_range": (1, 10)}
        out, _ = decode_attention(query[:, :, :1], blocks, blocks, key_lengths=lengths, column_sums=sums, **call)
        return out, sums, attention_column_sums(query, blocks, query_start=lengths, **call)

    compiled = torch.compile(scored, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(query, blocks, table), scored(query, blocks, table))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("given", ["ints", "tensors"])
def test_column_sums_compile_without_a_break(device, given):
    query, key = torch.randn(2, 4, 3, 64, device=device), torch.randn(2, 2, 20, 64, device=device)
    ranges = {"column_range": (2, 12), "query_start": 17, "key_start": 1}
    if given == "tensors":
        ranges = {"column_range": (integers(device, 2, 2), 10), "query_start": integers(device, 17, 17)}
        ranges["key_start"] = integers(device, 1, 1)

    def scored(query, key):
        return attention_column_sums([query * 2, query], [key, key], **ranges) + 1

    compiled = torch.compile(scored, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(query, key), scored(query, key))


@pytest.mark.parametrize("device", DEVICES)
def test_decode_attention_compiles_without_a_break_and_still_adds(device):
    query, key = torch.randn(2, 4, 1, 64, device=device), torch.randn(2, 2, 20, 64, device=device)
    lengths = integers(device, 20, 11)

    def step(query, key, sums):
        out, lse = decode_attention(query, key, key, key_lengths=lengths, column_sums=sums, column_range=(3, 13))
        return out + 1, lse

    sums, expected = torch.zeros(2, 10, device=device), torch.zeros(2, 10, device=device)
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        torch.testing.assert_close(compiled(query, key, sums), step(query, key, expected))
    torch.testing.assert_close(sums, expected)
    assert expected.sum() > 0


def test_fake_tensors_have_the_shapes_and_dtypes():
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        query, key = torch.empty(2, 4, 3, 64, dtype=torch.float16), torch.empty(2, 2, 20, 64, dtype=torch.float16)
        sums = attention_column_sums(query, key, column_range=(0, 10), query_start=17)
        apart = attention_column_sums(query, key, column_range=(0, 10), query_start=17, per_head=True)
        out, lse = decode_attention(query[:, :, :1], key, key, key_lengths=20)
    assert (sums.shape, sums.dtype) == ((2, 10), torch.float32)
    assert (apart.shape, out.shape, out.dtype) == ((2, 4, 10), (2, 4, 1, 64), torch.float16)
    assert (lse.shape, lse.dtype) == ((2, 4), torch.float32)


def test_tensors_that_require_grad_are_served():
    """Scores are not differentiable; a model whose weights require grad can still be scored."""
    query = torch.randn(1, 2, 3, 16, requires_grad=True)
    options = {"column_range": (0, 2), "query_start": 0}
    expected = attention_column_sums(query.detach(), query.detach(), **options)
    scores = attention_column_sums(query, query, **options)
    assert torch.equal(scores, expected) and not scores.requires_grad
    step = query[:, :, :1]
    out, lse = decode_attention(step, query, query, key_lengths=3)
    assert not out.requires_grad and not lse.requires_grad
    assert torch.equal(out, decode_attention(step.detach(), query.detach(), query.detach(), key_lengths=3)[0])
