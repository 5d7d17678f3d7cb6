"""What `make` sets up, on machines unlike this one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def constraints():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {found.name: found for found in map(Requirement, (line for line in lines if line and line[0] != "#"))}


def test_pytorch_with_cuda_finds_its_triton():
    """PyTorch's CUDA build pins one. Its CPU build does not, so a machine that has that one cannot notice."""
    assert constraints()["torch"].specifier.contains("2.13.0"), "name the Triton of the new PyTorch here"
    assert constraints()["triton"].specifier.contains("3.7.1")


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_an_older_python_is_told_in_one_line(tmp_path):
    old = tmp_path / "python"
    lie = "import sys; sys.version_info = (3, 10, 13); sys.version = '3.10.13 (main)'; exec(sys.argv[2])"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{lie}" "$@"\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "--no-print-directory", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}", "demo"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    said, stopped = done.stderr.splitlines()
    assert said.startswith(f"Python 3.11 or later is needed, and {old} is 3.10.13") and "PYTHON=" in said
    assert done.returncode == 2 and "Error 1" in stopped and done.stdout == "" and not (tmp_path / "venv").exists()
