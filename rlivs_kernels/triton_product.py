# mypy: ignore-errors
"""Logits in Triton: products of float32 rows without tensor cores, whose 10-bit mantissas would cost the accuracy; and
the softcap."""

import triton
import triton.language as tl


@triton.jit
def float32_product(
    left,
    left_mask,
    left_dim,
    right,
    right_mask,
    right_dim,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PART: tl.constexpr = 16,
):
    """[M, N] products of the rows that the pointers left [M] and right [N] point at.

    A few dimensions at a time: each thread holds its rows' operands of the whole part in registers.
    """
    total = tl.zeros([left.shape[0], right.shape[0]], tl.float32)
    for first in range(0, BLOCK_D, PART):
        dim = first + tl.arange(0, PART)
        inside = dim < HEAD_DIM
        rows = tl.load(left[:, None] + dim[None, :] * left_dim, mask=left_mask[:, None] & inside[None, :], other=0.0)
        columns = tl.load(
            right[None, :] + dim[:, None] * right_dim, mask=right_mask[None, :] & inside[:, None], other=0.0
        )
        total = tl.dot(rows, columns, total, input_precision="ieee")
    return total


@triton.jit
def capped(logits, cap_inner, cap_outer):
    """softcap * tanh(scale * product / softcap) in log2 units; cap_inner = 2 scale log2(e) / softcap."""
    return cap_outer * (1.0 - 2.0 / (tl.exp2(logits * cap_inner) + 1.0))
