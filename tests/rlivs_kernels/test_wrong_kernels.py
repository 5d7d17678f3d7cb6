"""The checks catch wrong kernels: Triton kernels with one line made wrong must fail them, unchanged ones pass."""

import importlib.util
from functools import partial
from pathlib import Path

import kernel_checks
import pytest
import torch

from rlivs_kernels import attention_column_sums, decode_attention
from rlivs_kernels.ops.column_sums import triton as column_sums
from rlivs_kernels.ops.decode_attention import triton as decode

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

COLUMN_SUM_MISTAKES = {
    "running max never rescaled": (
        "total * tl.exp2(highest - shift) + tl.sum(",
        "total + tl.sum(",
        kernel_checks.rising_logits_are_rescaled,
    ),
    "columns shifted by one": (
        "columns = first_column + tl.arange(0, BLOCK_KEYS)",
        "columns = first_column + 1 + tl.arange(0, BLOCK_KEYS)",
        kernel_checks.matches_the_reference,
    ),
    "last partial tile of keys dropped": (
        "end = tl.minimum(high, begin + share)",
        "end = tl.minimum(high // BLOCK_KEYS * BLOCK_KEYS, begin + share)",
        kernel_checks.matches_the_reference,
    ),
    "last partial tile of rows dropped": (
        "end = tl.minimum(row_end * GROUP, begin + share)",
        "end = tl.minimum(row_end * GROUP // BLOCK_ROWS * BLOCK_ROWS, begin + share)",
        kernel_checks.matches_the_reference,
    ),
    "unwritten output": (
        "result, mask=index < num_columns)",
        "result, mask=index < num_columns - 1)",
        kernel_checks.matches_the_reference,
    ),
    "causality forgotten": ("seen = column <= row", "seen = column <= row + 1", kernel_checks.matches_the_reference),
    "padding seen": (
        "low = tl.maximum(low, tl.load(key_start + batch))",
        "low = tl.maximum(low, tl.load(key_start + batch) - 1)",
        kernel_checks.padded_equals_unpadded,
    ),
    "every batch row by the first's table": (
        "block_table + batch.to(tl.int64) * table_row",
        "block_table",
        kernel_checks.caches_in_blocks,
    ),
    "a group's heads mixed up": (
        "item % GROUP * query_head",
        "item // BLOCK_ROWS % GROUP * query_head",
        kernel_checks.matches_the_reference,
    ),
}
DECODE_MISTAKES = {
    "running max never rescaled": (
        "total = total * decay +",
        "total = total +",
        kernel_checks.step_rescales_rising_logits,
    ),
    "output never rescaled": ("mix = mix * decay[None, :]", "mix = mix", kernel_checks.step_rescales_rising_logits),
    "columns shifted by one": (
        "index = column - first_column",
        "index = column - first_column - 1",
        kernel_checks.step_matches_the_reference,
    ),
    "last partial tile dropped": (
        "return low, tl.minimum(num_keys, length)",
        "return low, tl.minimum(num_keys, length) // 16 * 16",
        kernel_checks.step_matches_the_reference,
    ),
    "values looked up as keys": (
        "num_blocks, value_batch, value_row,",
        "num_blocks, value_batch, key_row,",
        kernel_checks.step_reads_caches_in_blocks,
    ),
    "a window of one key more": (
        "length - sliding_window",
        "length - sliding_window - 1",
        kernel_checks.step_caps_and_windows,
    ),
    "unwritten output": (
        "result.to(out.dtype.element_ty), mask=dim < HEAD_DIM)",
        "result.to(out.dtype.element_ty), mask=dim < HEAD_DIM - 1)",
        kernel_checks.step_matches_the_reference,
    ),
    "sums overwritten and not added": (
        "tl.load(place, mask=seen, other=0.0) + sums",
        "sums",
        kernel_checks.step_gives_one_a_head,
    ),
}


def mutated(module, right, wrong, folder):
    """The kernels of `module.triton_kernels` with every occurrence of a piece of source replaced."""
    source = Path(module.triton_kernels.__file__).read_text(encoding="utf-8")
    assert right in source, "the kernel no longer holds this line: name its successor here"
    path = folder / "mutated_kernels.py"
    path.write_text(source.replace(right, wrong), encoding="utf-8")
    specification = importlib.util.spec_from_file_location("mutated_kernels", path)
    kernels = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(kernels)
    return kernels


@pytest.mark.parametrize("mistake", COLUMN_SUM_MISTAKES)
def test_wrong_column_sums_are_caught(monkeypatch, tmp_path, mistake):
    right, wrong, check = COLUMN_SUM_MISTAKES[mistake]
    op = partial(attention_column_sums, backend="triton")
    monkeypatch.setattr(column_sums, "triton_kernels", mutated(column_sums, right, right, tmp_path))
    check(op, DEVICE, torch.float16)
    monkeypatch.undo()
    monkeypatch.setattr(column_sums, "triton_kernels", mutated(column_sums, right, wrong, tmp_path))
    with pytest.raises(AssertionError):
        check(op, DEVICE, torch.float16)


@pytest.mark.parametrize("mistake", DECODE_MISTAKES)
def test_wrong_decode_attention_is_caught(monkeypatch, tmp_path, mistake):
    right, wrong, check = DECODE_MISTAKES[mistake]
    op = partial(decode_attention, backend="triton")
    monkeypatch.setattr(decode, "triton_kernels", mutated(decode, right, right, tmp_path))
    check(op, DEVICE, torch.float16)
    monkeypatch.undo()
    monkeypatch.setattr(decode, "triton_kernels", mutated(decode, right, wrong, tmp_path))
    with pytest.raises(AssertionError):
        check(op, DEVICE, torch.float16)


def test_memory_is_poisoned():
    assert torch.empty(64).isnan().all()
    assert torch.zeros(3).new_empty(64).isnan().all()
