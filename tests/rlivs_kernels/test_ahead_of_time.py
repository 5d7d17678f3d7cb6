"""Kernels compiled ahead of time for A100 and Hopper: no spills, HGMMA where it belongs."""

import json
import os
import subprocess
import sys

import pytest

from rlivs_kernels.ahead_of_time import KernelResources, occupancy, problems


@pytest.mark.slow
def test_the_kernels_of_head_size_128_compile_without_spills(tmp_path):
    """As the command does for every dtype and head size, for sm_80 and for CUDA's kernels, too."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path / "cache")
    command = [sys.executable, "-m", "rlivs_kernels.ahead_of_time", "--head-dim", "128", "--dtype", "float16"]
    command += ["--arch", "90", "--no-cuda", "--json", str(tmp_path / "rows.json")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    rows = [KernelResources(**row) for row in json.loads((tmp_path / "rows.json").read_text())]
    assert {row.arch for row in rows} == {90}
    assert {row.name.split()[0] for row in rows} >= {
        "row_normalisers",
        "column_sums",
        "reduce_parts",
        "attend_split",
        "combine_splits",
    }
    assert problems(rows) == []
    # Two programs share a multiprocessor, so one's exponentials hide the other's matrix products.
    plain = [row for row in rows if row.arch == 90 and row.name in PLAIN]
    assert len(plain) == len(PLAIN) and all(row.occupancy >= 0.25 for row in plain)


PLAIN = {"row_normalisers float16 D=128 plain", "column_sums float16 D=128 plain"}


def test_occupancy_by_its_three_limits():
    assert occupancy(90, 32, 0, 1024) == 1.0
    assert occupancy(90, 128, 0, 256) == 0.25  # 65536 / (128 x 256) = 2 programs of 8 warps
    assert occupancy(80, 32, 100 * 1024, 128) == 4 / 64  # shared memory holds one program
    assert occupancy(80, 40, 0, 32) == 0.5  # 32 programs


def test_spills_a_missing_hgmma_and_too_few_programs_are_problems():
    good = KernelResources("column_sums float16", 90, 128, 0, 0, 256, 0.25, "HGMMA")
    assert problems([good]) == []
    spilled = KernelResources("column_sums float16", 80, 255, 0, 8, 256, 0.1, "HMMA")
    slow = KernelResources("column_sums bfloat16", 90, 128, 0, 0, 256, 0.25, "HMMA")
    assert len(problems([good, spilled, slow])) == 2
    alone = KernelResources("attend_split float16", 80, 255, 0, 0, 128, 0.125, "HMMA", expected_programs=3)
    assert problems([alone]) == ["attend_split float16 sm_80: a multiprocessor holds 2 of its programs, not 3"]
