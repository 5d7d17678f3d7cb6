"""The CUDA extension as nvcc builds it: what is in the file, and how it behaves without a GPU.

Where nvcc is installed these tests run: they build the extension (objects of an earlier build are reused).
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rlivs_kernels import cuda_resources

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cuda_build")]


def python(code, **environment):
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(out):
    environment = {**os.environ, "RLIVS_BUILD_CUDA": "1", "RLIVS_CUDA_ARCHS": "80;90"}
    command = [
        sys.executable,
        "setup.py",
        "-q",
        "build_ext",
        "--build-lib",
        str(out),
        "--build-temp",
        str(out / "temp"),
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def extension(once):
    """The module, built for sm_80 and sm_90."""
    if shutil.which("nvcc") is None and "CUDA_HOME" not in os.environ:
        pytest.skip("nvcc is not installed")
    package = once("extension", build) / "rlivs_kernels"
    record = json.loads((package / "_cuda_build.json").read_text())
    assert record["outcome"] == "built" and "sm_80;sm_90" in record["message"]
    sys.path.insert(0, str(package))
    try:
        import _cuda
    finally:
        sys.path.pop(0)
    return _cuda


@pytest.fixture(scope="module")
def rows(extension, once):
    def read(folder):
        (folder / "rows.json").write_text(json.dumps(cuda_resources.rows(extension)))

    return json.loads((once("extension_rows", read) / "rows.json").read_text())


def test_every_kernel_is_there_for_both_architectures(extension, rows):
    names = {launch["name"] for launch in extension.launches()}
    assert len(names) > 50
    assert {row["name"] for row in rows if row["arch"] == 80} == names
    assert {row["name"] for row in rows if row["arch"] == 90} == names


def test_no_kernel_spills(rows):
    assert [row for row in rows if row["spill_bytes"]] == []


def test_halves_are_multiplied_on_tensor_cores(rows):
    """fp32 is multiplied in full precision, so not on them."""
    for row in rows:
        kernel = row["name"].split()[0]
        halves = "float16" in row["name"] and kernel in ("row_lse", "column_parts", "tensor_core_split")
        assert bool(row["matrix_instruction"]) == halves, row


def test_blocks_fit_a_multiprocessor(rows):
    """Of halves: two on an A100, three for the column sums up to head size 128; each within the 99 KiB of sm_86."""
    for row in rows:
        if "float16" in row["name"] and row["arch"] == 80:
            column_sums = row["name"].startswith(("row_lse", "column_parts"))
            blocks = 3 if column_sums and "D=256" not in row["name"] else 2
            assert blocks * (row["shared_bytes"] + 1024) <= 164 * 1024, row
            assert blocks * row["threads"] * row["registers"] <= 65536, row
            assert row["shared_bytes"] <= 99 * 1024, row


def test_ptx_for_gpus_to_come(extension):
    listed = cuda_resources._run("--list-ptx", extension.__file__)
    assert "sm_90" in listed and "sm_80" not in listed
    assert extension.build_info()["architectures"] == "sm_80;sm_90;compute_90"


def test_nothing_of_cuda_is_linked_or_exported(extension):
    """No libcudart, no libcuda to find at import; and no symbol of the static runtime that another copy could take."""
    needed = subprocess.run(["objdump", "-p", extension.__file__], check=True, capture_output=True, text=True).stdout
    libraries = [line.split()[1] for line in needed.splitlines() if "NEEDED" in line]
    assert not [name for name in libraries if "cuda" in name or "torch" in name or "nv" in name]
    symbols = subprocess.run(["objdump", "-T", extension.__file__], check=True, capture_output=True, text=True).stdout
    defined = [line for line in symbols.splitlines() if "*UND*" not in line and (" DF " in line or " DO " in line)]
    assert [line.split()[-1] for line in defined if "cuda" in line.split()[-1]] == ["PyInit__cuda"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_an_error_names_the_reason(extension):
    with pytest.raises(RuntimeError, match="cudaError"):
        extension.DecodePlan(0, 0, 1, 28, 4, 100, 0, 128)


def test_importing_takes_no_gpu(extension):
    directory = str(Path(extension.__file__).parent)
    code = f"import sys; sys.path.insert(0, {directory!r}); import _cuda; print(_cuda.build_info()['nvcc'])"
    assert float(python(code, CUDA_VISIBLE_DEVICES="").strip()) >= 12
