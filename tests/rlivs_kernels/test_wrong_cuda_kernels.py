"""The checks catch wrong CUDA kernels, too: on the emulator, with one expression made wrong.

All mistakes are compiled into one module, where a variable chooses among them; 0 is the right kernel.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from compiler import needs_compiler

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.xdist_group("cuda_emulation"),
    needs_compiler,
    pytest.mark.skipif(sys.platform != "linux", reason="the emulator's fibers are written for Linux"),
]

# Name, header, the right expression, the wrong one, the operation, the check that must fail.
MISTAKES = [
    (
        "column sums: running maximum never rescaled",
        "column_sums/row_lse.cuh",
        "exp2_fast(highest[i] - chunk_highest)",
        "1.f",
        "attention_column_sums",
        "rising_logits_are_rescaled",
    ),
    (
        "column sums: columns shifted by one",
        "column_sums/column_parts.cuh",
        "p.column_start[batch] + column0",
        "p.column_start[batch] + column0 + 1",
        "attention_column_sums",
        "matches_the_reference",
    ),
    (
        "column sums: last partial tile of keys dropped",
        "column_sums/row_lse.cuh",
        "(end - begin + Tiles::kStream - 1) / Tiles::kStream",
        "(end - begin) / Tiles::kStream",
        "attention_column_sums",
        "matches_the_reference",
    ),
    (
        "column sums: last partial tile of rows dropped",
        "column_sums/column_parts.cuh",
        "piece_begin(tiles, split + 1, p.row_splits)",
        "piece_begin(tiles, split + 1, p.row_splits) - (split + 1 == p.row_splits && rows % Tiles::kStream != 0)",
        "attention_column_sums",
        "matches_the_reference",
    ),
    (
        "column sums: unwritten output",
        "column_sums/column_sums.cuh",
        "warp_index() == 0 && column < p.num_columns",
        "warp_index() == 0 && column < p.num_columns - 1",
        "attention_column_sums",
        "matches_the_reference",
    ),
    (
        "column sums: keys of the next place in a block",
        "block_table.cuh",
        "key - index * size.divisor()",
        "(key - index * size.divisor() + 1) % size.divisor()",
        "attention_column_sums",
        "caches_in_blocks",
    ),
    (
        "decode: running maximum never rescaled",
        "decode_attention/tensor_core_split.cuh",
        "exp2_fast(highest[n][e] - merged)",
        "1.f",
        "decode_attention",
        "step_rescales_rising_logits",
    ),
    (
        "decode: columns shifted by one",
        "decode_attention/tensor_core_split.cuh",
        "key - first_column",
        "key - first_column - 1",
        "decode_attention",
        "step_matches_the_reference",
    ),
    (
        "decode: last partial tile dropped",
        "decode_attention/tensor_core_split.cuh",
        "(keys.end - keys.begin + Config::kTile - 1) / Config::kTile",
        "(keys.end - keys.begin) / Config::kTile",
        "decode_attention",
        "step_matches_the_reference",
    ),
    (
        "decode: every batch row by the first's table",
        "decode_attention/tensor_core_split.cuh",
        "p.table.place(batch, minimum(first + row, last))",
        "p.table.place(0, minimum(first + row, last))",
        "decode_attention",
        "step_reads_caches_in_blocks",
    ),
    (
        "decode: unwritten output",
        "decode_attention/combine.cuh",
        "dim < p.head_dim; dim += kCombineThreads",
        "dim < p.head_dim - 1; dim += kCombineThreads",
        "decode_attention",
        "step_matches_the_reference",
    ),
]

# In an interpreter of its own: two emulators in one process would register the same types.
PROGRAM = """
import ctypes, functools, importlib.util, json, sys
import torch
import kernel_checks, rlivs_kernels
from rlivs_kernels import cuda_module

path, mistakes = sys.argv[1], json.loads(sys.argv[2])
specification = importlib.util.spec_from_file_location("_cuda_emulated", path)
emulated = importlib.util.module_from_spec(specification)
specification.loader.exec_module(emulated)
chosen = ctypes.c_int.in_dll(ctypes.CDLL(path), "rlivs_mistake")
cuda_module.load = lambda: emulated
cuda_module.limit = lambda device: None
cuda_module.current_stream = lambda device: 0
torch.use_deterministic_algorithms(True, warn_only=True)  # torch.empty gives NaN

def passes(operation, check):
    try:
        getattr(kernel_checks, check)(functools.partial(getattr(rlivs_kernels, operation), backend="cuda"), "cpu",
                                      torch.float16)
    except AssertionError:
        return False
    return True

found = []
for number, (operation, check) in enumerate(mistakes, 1):
    chosen.value = 0
    right = passes(operation, check)
    chosen.value = number
    found.append([right, passes(operation, check)])
print(json.dumps(found))
"""


def judge(root):
    """Writes [the right kernel passes, the wrong one passes] of each mistake to verdicts.json."""
    specification = importlib.util.spec_from_file_location("emulation_build", ROOT / "csrc" / "emulation" / "build.py")
    builder = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(builder)

    include = root / "include"
    shutil.copytree(ROOT / "csrc" / "include", include)
    for number, (_, header, right, wrong, *_) in enumerate(MISTAKES, 1):
        path = include / "rlivs" / header
        source = path.read_text(encoding="utf-8")
        assert source.count(right) == 1, f"{header} no longer holds {right!r} once: name its successor here"
        # A loop's head is no expression: its condition is.
        right_part, wrong_part = (text.split("; ")[0] for text in (right, wrong))
        switch = right.replace(right_part, f"(rlivs_mistake == {number} ? ({wrong_part}) : ({right_part}))")
        path.write_text(source.replace(right, switch), encoding="utf-8")
    declared = 'extern "C" __attribute__((visibility("default"))) int rlivs_mistake;\n'
    (root / "mistake.h").write_text(declared)
    (root / "mistake.cpp").write_text(f'#include "{root}/mistake.h"\nint rlivs_mistake = 0;\n')

    changed = ["column_sums_64.cu", "column_sums_float.cu", "decode_attention_64.cu", "decode_attention_float.cu"]
    csrc = ROOT / "csrc"
    sources = [*csrc.glob("*.cpp"), *csrc.glob("*.cu"), csrc / "emulation" / "simt.cpp"]
    objects = builder.compile_all([each for each in sources if each.name not in changed])
    for source in [*(csrc / name for name in changed), root / "mistake.cpp"]:
        target = root / f"{source.stem}.o"
        flags = [f"-I{include}", "-include", str(root / "mistake.h"), *builder.FLAGS, "-x", "c++", "-c"]
        subprocess.run([builder.COMPILER, *flags, str(source), "-o", str(target)], check=True)
        objects.append(target)
    module = root / "_cuda_emulated.so"
    subprocess.run([builder.COMPILER, "-shared", *map(str, objects), "-o", str(module)], check=True)

    pairs = json.dumps([mistake[4:] for mistake in MISTAKES])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "support"), str(ROOT), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(module), pairs], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (root / "verdicts.json").write_text(done.stdout)


@pytest.fixture(scope="module")
def verdicts(once):
    found = json.loads((once("wrong_kernels", judge) / "verdicts.json").read_text())
    return dict(zip([mistake[0] for mistake in MISTAKES], found, strict=True))


@pytest.mark.parametrize("name", [mistake[0] for mistake in MISTAKES])
def test_wrong_cuda_kernels_are_caught(verdicts, name):
    right_passes, wrong_passes = verdicts[name]
    assert right_passes and not wrong_passes
