"""Compiles every kernel ahead of time and reads registers, shared memory and spills.

`python -m rlivs_kernels.ahead_of_time` prints the table and exits with 1 where a kernel spills, or where
fewer of its programs fit on a multiprocessor than its launches are cut for.
Needs Triton and, for the CUDA kernels, nvcc; no GPU.

The CUDA kernels are all there are. Of Triton's, whose variants a call's options multiply, the table holds those of
common calls; --thorough adds each option alone, all together, one to four layers and other group sizes. What is never
compiled here: pairs of options, groups other than 1, 2, 4, 7 and 8, tensors that are not aligned to 16 bytes.
"""

import argparse
import importlib
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlivs_kernels.triton_launch import Chip, observed

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
HEAD_DIMS = (64, 80, 96, 128, 256)
CHIPS = {80: Chip((8, 0), 108, 163 * 1024), 90: Chip((9, 0), 132, 227 * 1024)}


@dataclass(frozen=True)
class KernelResources:
    """What one compiled kernel takes of a multiprocessor."""

    name: str
    arch: int
    registers: int
    shared_bytes: int
    spill_bytes: int
    threads: int
    occupancy: float  # resident warps / most warps of a multiprocessor
    matrix_instruction: str = ""  # HGMMA, HMMA or none
    expected_programs: int = 1  # that its launches expect a multiprocessor to hold

    @property
    def programs(self) -> int:
        """How many of its programs a multiprocessor holds."""
        return round(self.occupancy * MULTIPROCESSORS[self.arch].warps * 32 / self.threads)


@dataclass(frozen=True)
class Multiprocessor:
    """Limits that decide occupancy (CUDA C++ Programming Guide, compute capabilities)."""

    registers: int
    shared_bytes: int
    warps: int
    programs: int


MULTIPROCESSORS = {80: Multiprocessor(65536, 164 * 1024, 64, 32), 90: Multiprocessor(65536, 228 * 1024, 64, 32)}


def occupancy(arch: int, registers: int, shared_bytes: int, threads: int) -> float:
    """Resident warps over the most a multiprocessor holds; registers are allotted 256 a warp, 1 KB of shared memory
    is reserved a program."""
    chip = MULTIPROCESSORS[arch]
    warps = -(-threads // 32)
    registers_a_warp = -(-registers * 32 // 256) * 256
    by_registers = chip.registers // registers_a_warp // warps
    by_shared = chip.shared_bytes // (shared_bytes + 1024)
    return min(by_registers, by_shared, chip.warps // warps, chip.programs) * warps / chip.warps


@dataclass(frozen=True)
class Variant:
    """A Triton kernel with everything its compilation depends on."""

    operation: str
    kernel: str
    label: str
    arch: int
    signature: tuple[tuple[str, str], ...]
    constants: tuple[tuple[str, object], ...]
    aligned: tuple[int, ...]
    options: tuple[tuple[str, object], ...]
    resident: int


@dataclass(frozen=True)
class ColumnSumCall:
    """What a launch of the column sums is specialised for; options are those of attention_column_sums."""

    label: str
    group: int = 7
    layers: int = 4
    options: tuple[str, ...] = ()
    given_lse: bool = False


ALL_OPTIONS = ("key_start", "row_mask", "softcap", "sliding_window")
COMMON: tuple[ColumnSumCall, ...] = (
    ColumnSumCall("plain"),
    ColumnSumCall("full", layers=1, options=ALL_OPTIONS),
)
OF_HALVES = (
    ColumnSumCall("few rows"),
    ColumnSumCall("per head", options=("per_head",)),
    ColumnSumCall("max", options=("max",)),
    ColumnSumCall("padded", options=("key_start", "row_mask")),
    ColumnSumCall("lse given", given_lse=True),
    ColumnSumCall("in blocks", options=("block_table",)),
)
THOROUGH = (
    *(ColumnSumCall(f"{layers} layers", layers=layers) for layers in (1, 2, 3)),
    *(ColumnSumCall(f"group {group}", group=group, layers=layers) for group in (1, 2, 4, 8) for layers in (1, 4)),
    *(ColumnSumCall(f"{option} alone", options=(option,)) for option in (*ALL_OPTIONS, "per_head", "max")),
    ColumnSumCall("in blocks, one layer", layers=1, options=("block_table",)),
    ColumnSumCall("full in blocks", layers=1, options=(*ALL_OPTIONS, "block_table")),
    ColumnSumCall("full, 4 layers", options=ALL_OPTIONS),
    ColumnSumCall("full per head", layers=1, options=(*ALL_OPTIONS, "per_head")),
    ColumnSumCall("full max", options=(*ALL_OPTIONS, "max")),
    ColumnSumCall("full per head max", options=(*ALL_OPTIONS, "per_head", "max")),
)


def column_sum_calls(dtype: torch.dtype, head_dim: int, thorough: bool = False) -> Iterator[tuple[str, Callable]]:
    """The calls whose launches are compiled, at the shapes of LLaVA-OneVision."""
    from rlivs_kernels.ops.column_sums.triton import attention_column_sums_triton

    # bfloat16 compiles to what float16 does but for one instruction: fewer of it.
    often = head_dim in (64, 128)
    calls = COMMON if often or dtype != torch.bfloat16 or thorough else COMMON[:1]
    if thorough or (often and dtype != torch.float32):
        calls += OF_HALVES
    if thorough:
        calls += THOROUGH
    one = torch.zeros(1, dtype=torch.int32)
    values: dict[str, Any] = {
        "key_start": one,
        "row_mask": torch.ones(1, 64, dtype=torch.bool),
        "softcap": 50.0,
        "sliding_window": 99,
        "block_table": torch.zeros(1, 38, dtype=torch.int32),
    }
    for call in calls:
        query = torch.empty(1, 2 * call.group, 64, head_dim, dtype=dtype)
        in_blocks = "block_table" in call.options
        key = torch.empty(*((38, 16) if in_blocks else (1, 600)), 2, head_dim, dtype=dtype).transpose(1, 2)
        rows = 4 if call.label == "few rows" else 64
        yield (
            call.label,
            partial(
                attention_column_sums_triton,
                [query[:, :, :rows]] * call.layers,
                [key] * call.layers,
                column_start=one,
                num_columns=512,
                query_start=one,
                lse=[torch.zeros(1, 2 * call.group, rows)] * call.layers if call.given_lse else None,
                scale=0.1,
                reduction="max" if "max" in call.options else "mean",
                per_head="per_head" in call.options,
                **{name: value if name in call.options else None for name, value in values.items()},
            ),
        )


def decode_calls(dtype: torch.dtype, head_dim: int, thorough: bool = False) -> Iterator[tuple[str, Callable]]:
    from rlivs_kernels.ops.decode_attention.triton import decode_attention_triton

    one = torch.zeros(1, dtype=torch.int32)
    values: dict[str, Any] = {
        "key_start": one,
        "softcap": 50.0,
        "sliding_window": 99,
        "block_table": torch.zeros(1, 402, dtype=torch.int32),
    }
    sums = torch.zeros(1, 3136)
    cases: list[tuple[str, int, bool, tuple[str, ...]]] = [("plain", 7, False, ()), ("scored", 7, True, ())]
    if thorough or head_dim in (64, 128):
        cases.append(("scored padded", 7, True, ("key_start",)))
        cases.append(("scored in blocks", 7, True, ("block_table",)))
    if thorough:
        cases += [("padded", 7, False, ("key_start",)), ("in blocks", 7, False, ("block_table",))]
        cases += [("scored, all options", 7, True, tuple(values))]
        cases += [(f"scored group {group}", group, True, ()) for group in (1, 2, 4, 8, 17, 64)]
    for label, group, scored, given in cases:
        query = torch.empty(1, 4 * group, 1, head_dim, dtype=dtype)
        sizes = (402, 16) if "block_table" in given else (1, 6430)
        key = torch.empty(*sizes, 4, head_dim, dtype=dtype).transpose(1, 2)
        yield (
            label,
            partial(
                decode_attention_triton,
                query,
                key,
                key,
                key_lengths=one,
                column_start=one if scored else None,
                num_columns=3136 if scored else 0,
                column_sums=sums if scored else None,
                scale=0.1,
                **{name: value if name in given else None for name, value in values.items()},
            ),
        )


def variants(
    architectures: Sequence[int] = (80, 90),
    dtypes: Sequence[torch.dtype] = DTYPES,
    head_dims: Sequence[int] = HEAD_DIMS,
    operations: Sequence[str] = ("column_sums", "decode_attention"),
    thorough: bool = False,
) -> list[Variant]:
    """Every distinct kernel that the calls above launch."""
    found: dict[Variant, str] = {}
    calls = {"column_sums": column_sum_calls, "decode_attention": decode_calls}
    for arch, dtype, head_dim, operation in itertools.product(architectures, dtypes, head_dims, operations):
        name = f"{str(dtype).removeprefix('torch.')} D={head_dim}"
        for label, call in calls[operation](dtype, head_dim, thorough):
            with observed(CHIPS[arch], partial(_keep, found, operation, arch, f"{name} {label}")):
                call()
    return [replace(variant, label=label) for variant, label in found.items()]


def _keep(
    found: dict[Variant, str],
    operation: str,
    arch: int,
    label: str,
    kernel: Any,
    arguments: list,
    constants: dict,
    options: dict,
    resident: int,
) -> None:
    """Adds the launch's variant, under the label of the first call that launches it."""
    signature, aligned = _signature(kernel, arguments, constants)
    values = {**dict(zip(kernel.arg_names, arguments, strict=False)), **constants}
    constexprs = tuple((name, values[name]) for name, kind in signature.items() if kind == "constexpr")
    variant = Variant(
        operation,
        kernel.__name__,
        "",
        arch,
        tuple(signature.items()),
        constexprs,
        aligned,
        tuple(options.items()),
        resident,
    )
    found.setdefault(variant, label)


def _signature(kernel: Any, arguments: list, constants: dict) -> tuple[dict[str, str], tuple[int, ...]]:
    """Types of the arguments as the JIT would specialise them, and the positions it knows to be multiples of 16."""
    types = {torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.float32: "*fp32", torch.int32: "*i32"}
    types[torch.uint8] = "*u8"
    signature: dict[str, str] = {}
    aligned = []
    for position, (parameter, value) in enumerate(zip(kernel.params, arguments, strict=False)):
        free = parameter.do_not_specialize
        if isinstance(value, Tensor):
            signature[parameter.name] = types[value.dtype]
            if value.data_ptr() % 16 == 0:
                aligned.append(position)
        elif isinstance(value, float):
            signature[parameter.name] = "fp32"
        elif value == 1 and not free:
            signature[parameter.name] = "constexpr"
        else:
            signature[parameter.name] = "i32"
            if value % 16 == 0 and not free:
                aligned.append(position)
    signature.update(dict.fromkeys(constants, "constexpr"))
    return signature, tuple(aligned)


def compile_variant(variant: Variant) -> KernelResources:
    """Compiles for variant.arch and reads the cubin with the cuobjdump that Triton ships."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel = getattr(importlib.import_module(f"rlivs_kernels.ops.{variant.operation}.triton_kernels"), variant.kernel)
    source = ASTSource(
        kernel,
        dict(variant.signature),
        dict(variant.constants),
        {(position,): [["tt.divisibility", 16]] for position in variant.aligned},
    )
    options = dict(variant.options)
    compiled = triton.compile(source, target=GPUTarget("cuda", variant.arch, 32), options=options)
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage = _output([str(tool), "--dump-resource-usage", file.name])
        code = _output([str(tool), "--dump-sass", file.name])
    registers = int(re.search(r"REG:(\d+)", usage)[1])  # type: ignore[index]
    # What does not fit in registers shows as a stack frame, as local memory, or as its loads and stores.
    spilled = max(int(n) for n in re.findall(r"(?:STACK|LOCAL):(\d+)", usage))
    spilled = max(spilled, 4 * len(re.findall(r"\b(?:STL|LDL)\b", code)))
    matrix = next((name for name in ("HGMMA", "HMMA") if re.search(rf"\b{name}\b", code)), "")
    threads = 32 * compiled.metadata.num_warps
    shared = compiled.metadata.shared
    return KernelResources(
        f"{variant.kernel} {variant.label}",
        variant.arch,
        registers,
        shared,
        spilled,
        threads,
        occupancy(variant.arch, registers, shared, threads),
        matrix,
        variant.resident,
    )


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def compile_all(wanted: Sequence[Variant], processes: int = 2) -> Iterator[KernelResources]:
    """In order, each as soon as it is there."""
    if processes == 1:
        yield from map(compile_variant, wanted)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(compile_variant, wanted)


def cuda_rows() -> list[KernelResources]:
    """The CUDA extension's kernels, where it is built; its file is read, not compiled."""
    from rlivs_kernels import cuda_module, cuda_resources

    module = cuda_module.load()
    if isinstance(module, ImportError):
        print(f"CUDA kernels are left out: {cuda_module.status()['error']}")
        return []
    return [
        KernelResources(
            **{**row, "name": f"cuda {row['name']}"},
            occupancy=occupancy(row["arch"], row["registers"], row["shared_bytes"], row["threads"]),
        )
        for row in cuda_resources.rows(module)
        if row["arch"] in MULTIPROCESSORS
    ]


def problems(rows: Sequence[KernelResources]) -> list[str]:
    """What is held of compiled kernels and is not so: no spills; room for as many programs as launches are cut for;
    HGMMA in the column pass of halves on Hopper."""
    found = [f"{r.name} sm_{r.arch} spills {r.spill_bytes} bytes" for r in rows if r.spill_bytes]
    found += [
        f"{r.name} sm_{r.arch}: a multiprocessor holds {r.programs} of its programs, not {r.expected_programs}"
        for r in rows
        if r.programs < r.expected_programs
    ]
    found += [
        f"{r.name} sm_{r.arch} has no HGMMA"
        for r in rows
        if r.arch == 90
        and r.name.startswith("column_sums")
        and "float32" not in r.name
        and r.matrix_instruction != "HGMMA"
    ]
    return found


HEADER = f"{'kernel':<64} {'arch':>5} {'regs':>5} {'shared':>7} {'spills':>6} {'threads':>7} {'occup.':>6}  matrix"


def line(row: KernelResources) -> str:
    return (
        f"{row.name:<64} sm_{row.arch} {row.registers:>5} {row.shared_bytes:>7} {row.spill_bytes:>6} {row.threads:>7} "
        f"{row.occupancy:>6.0%}  {row.matrix_instruction}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--arch", type=int, nargs="+", default=[80, 90], choices=sorted(CHIPS))
    parser.add_argument("--head-dim", type=int, nargs="+", default=list(HEAD_DIMS))
    names = [str(dtype).removeprefix("torch.") for dtype in DTYPES]
    parser.add_argument("--dtype", nargs="+", default=names, choices=names)
    parser.add_argument("--operation", nargs="+", default=["column_sums", "decode_attention"])
    parser.add_argument("--thorough", action="store_true", help="more variants of the Triton kernels, 1,700 in all")
    parser.add_argument("--cuda", action=argparse.BooleanOptionalAction, default=True, help="the CUDA kernels, too")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the rows to this file, too")
    options = parser.parse_args()
    if os.environ.get("TRITON_INTERPRET") == "1":
        print("TRITON_INTERPRET=1 compiles nothing; unset it", file=sys.stderr)
        return 2
    wanted = variants(
        options.arch,
        [getattr(torch, name) for name in options.dtype],
        options.head_dim,
        options.operation,
        options.thorough,
    )
    rows = []
    print(HEADER)
    for row in itertools.chain(compile_all(wanted, options.processes), cuda_rows() if options.cuda else ()):
        rows.append(row)
        print(line(row), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in rows], indent=1))
    wrong = problems(rows)
    print("\n".join(wrong) or f"{len(rows)} kernels: no spills, and room for all programs")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
