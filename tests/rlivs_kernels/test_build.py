"""The build's switch: RLIVS_BUILD_CUDA=auto, 0 and 1, with and without a compiler, in copies of the tree.

A script stands in for nvcc: what is tested here is what the build decides, says and leaves behind.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FAKE_NVCC = """#!/bin/sh
if [ "$1" = --version ]; then echo "Cuda compilation tools, release 13.0, V13.0.88"; exit 0; fi
case "$*" in *broken.cu*) echo "broken.cu(1): error: this is no C++" >&2; exit 2;; esac
echo "$*" >> "$RLIVS_FAKE_LOG"
while [ $# -gt 0 ]; do
  if [ "$1" = -o ]; then echo made > "$2"; fi
  shift
done
"""

pytestmark = [
    pytest.mark.xdist_group("build"),
    pytest.mark.skipif(sys.platform != "linux", reason="the CUDA extension is built on Linux alone"),
]


@pytest.fixture
def tree(tmp_path):
    """The files a build reads, with one small CUDA source."""
    root = tmp_path / "tree"
    root.mkdir()
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "NOTICE"):
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, root / name)
        else:
            (root / name).write_text(f"{name}\n")
    leave = shutil.ignore_patterns("__pycache__", "*.so", "_cuda_build.json", "assets")
    shutil.copytree(ROOT / "rlivs_kernels", root / "rlivs_kernels", ignore=leave)
    shutil.copytree(ROOT / "python" / "rlivs", root / "python" / "rlivs", ignore=leave)
    (root / "csrc" / "include" / "rlivs").mkdir(parents=True)
    (root / "csrc" / "kernel.cu").write_text("// a kernel\n")
    (root / "csrc" / "bindings.cpp").write_text("// bindings\n")
    (root / "csrc" / "include" / "rlivs" / "kernel.cuh").write_text("// a header\n")
    return root


@pytest.fixture
def fake_toolkit(tmp_path):
    home = tmp_path / "toolkit"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "nvcc").write_text(FAKE_NVCC)
    (home / "bin" / "nvcc").chmod(0o755)
    return home


@pytest.fixture
def setup(tree, tmp_path):
    """Runs setup.py in the tree, with no nvcc to be found unless CUDA_HOME is given."""
    empty = tmp_path / "bin"
    empty.mkdir()
    for tool in ("sh", "gcc", "cc"):
        if found := shutil.which(tool):
            (empty / tool).symlink_to(found)

    def run(*command, program=("setup.py", "-q"), **environment):
        hidden = ("CUDA", "RLIVS", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        kept |= {"PATH": str(empty), "RLIVS_FAKE_LOG": str(tmp_path / "log"), **environment}
        return subprocess.run([sys.executable, *program, *command], cwd=tree, env=kept, capture_output=True, text=True)

    run.calls = lambda: (tmp_path / "log").read_text().splitlines() if (tmp_path / "log").exists() else []
    return run


def record(directory):
    return json.loads((directory / "rlivs_kernels" / "_cuda_build.json").read_text())


def wheel(tree):
    (found,) = (tree / "dist").glob("*.whl")
    with zipfile.ZipFile(found) as archive:
        names = archive.namelist()
        described = json.loads(archive.read("rlivs_kernels/_cuda_build.json"))
    return found.name, names, described


def test_auto_without_nvcc_builds_a_wheel_and_says_so(tree, setup):
    done = setup("bdist_wheel")
    assert done.returncode == 0, done.stderr
    assert "rlivs-kernels: nvcc was not found: the CUDA extension is not built" in done.stderr
    name, names, described = wheel(tree)
    assert name.endswith("py3-none-any.whl")
    assert described["outcome"] == "skipped" and described["requested"] == "auto"
    assert "rlivs_kernels/ops/column_sums/cuda.py" in names and "rlivs/errors.py" in names
    assert not [each for each in names if each.endswith(".so") or each.startswith("csrc")]


def test_auto_with_nvcc_builds_the_extension_into_the_wheel(tree, setup, fake_toolkit):
    done = setup("bdist_wheel", CUDA_HOME=str(fake_toolkit))
    assert done.returncode == 0, done.stderr
    name, names, described = wheel(tree)
    assert "linux" in name
    assert [each for each in names if each.startswith("rlivs_kernels/_cuda.") and each.endswith(".so")]
    assert described["outcome"] == "built" and "sm_80;sm_90 with nvcc 13.0" in described["message"]
    compiled = [call for call in setup.calls() if " -c " in call]
    assert len(compiled) == 2
    assert all("code=sm_80 " in call and "code=[sm_90,compute_90]" in call for call in compiled)
    (linked,) = [call for call in setup.calls() if "-shared" in call]
    assert "-cudart static" in linked


def test_zero_skips_even_where_nvcc_is(tree, setup, fake_toolkit):
    done = setup("bdist_wheel", CUDA_HOME=str(fake_toolkit), RLIVS_BUILD_CUDA="0")
    assert done.returncode == 0, done.stderr
    assert wheel(tree)[2] == {
        "requested": "0",
        "outcome": "skipped",
        "message": "RLIVS_BUILD_CUDA=0: the CUDA extension is not built",
    }
    assert setup.calls() == []


def test_one_without_nvcc_fails_with_one_clear_line(setup):
    done = setup("build", RLIVS_BUILD_CUDA="1")
    assert done.returncode != 0
    line = done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert line.startswith("rlivs-kernels: RLIVS_BUILD_CUDA=1, but nvcc was not found") and "RLIVS_BUILD_CUDA=0" in line


def test_a_failing_compiler_is_recorded_by_auto_and_fatal_to_one(tree, setup, fake_toolkit):
    (tree / "csrc" / "broken.cu").write_text("not C++\n")
    done = setup("build", "--build-lib", "out", CUDA_HOME=str(fake_toolkit))
    assert done.returncode == 0, done.stderr
    described = record(tree / "out")
    assert described["outcome"] == "failed" and "this is no C++" in described["message"]
    done = setup("build", CUDA_HOME=str(fake_toolkit), RLIVS_BUILD_CUDA="1")
    assert done.returncode != 0 and "RLIVS_BUILD_CUDA=1, but nvcc failed" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(("name", "value"), [("RLIVS_BUILD_CUDA", "yes"), ("RLIVS_CUDA_ARCHS", "hopper")])
def test_a_wrong_setting_is_named(setup, fake_toolkit, name, value):
    settings = {"RLIVS_BUILD_CUDA": "1", "CUDA_HOME": str(fake_toolkit), name: value}
    done = setup("build", **settings)
    assert done.returncode != 0 and name in done.stderr.splitlines()[-1] and value in done.stderr.splitlines()[-1]


def test_other_architectures(setup, fake_toolkit):
    done = setup("build", CUDA_HOME=str(fake_toolkit), RLIVS_CUDA_ARCHS="9.0, 100;80")
    assert done.returncode == 0, done.stderr
    assert all(
        "code=sm_80 " in c and "code=sm_90 " in c and "code=[sm_100,compute_100]" in c for c in setup.calls()[:2]
    )


def test_a_second_build_compiles_what_changed(tree, setup, fake_toolkit):
    setup("build", CUDA_HOME=str(fake_toolkit))
    assert len(setup.calls()) == 3
    setup("build", CUDA_HOME=str(fake_toolkit))
    assert len(setup.calls()) == 4  # linked again
    (tree / "csrc" / "kernel.cu").write_text("// another kernel\n")
    setup("build", CUDA_HOME=str(fake_toolkit))
    assert len(setup.calls()) == 6
    (tree / "csrc" / "include" / "rlivs" / "kernel.cuh").write_text("// another header\n")
    setup("build", CUDA_HOME=str(fake_toolkit))
    assert len(setup.calls()) == 9


def test_an_editable_install_leaves_its_files_in_the_package(tree, setup, fake_toolkit):
    """As pip install -e does; and a later build leaves no stale module behind."""
    package = tree / "rlivs_kernels"
    install = ("-c", "from setuptools import build_meta; build_meta.build_editable('.')")
    done = setup(program=install, CUDA_HOME=str(fake_toolkit))
    assert done.returncode == 0, done.stderr
    assert record(tree)["outcome"] == "built" and len(list(package.glob("_cuda.*.so"))) == 1
    (tree / "csrc" / "broken.cu").write_text("not C++\n")
    done = setup(program=install, CUDA_HOME=str(fake_toolkit))
    assert done.returncode == 0, done.stderr
    assert record(tree)["outcome"] == "failed" and not list(package.glob("_cuda.*.so"))
    (tree / "csrc" / "broken.cu").unlink()
    assert setup(program=install, CUDA_HOME=str(fake_toolkit)).returncode == 0
    assert len(list(package.glob("_cuda.*.so"))) == 1
    done = setup(program=install)
    assert done.returncode == 0, done.stderr
    assert record(tree)["outcome"] == "skipped" and not list(package.glob("_cuda.*.so"))


def test_the_sdist_holds_the_sources(tree, setup):
    shutil.rmtree(tree / "csrc")
    shutil.copytree(ROOT / "csrc", tree / "csrc")
    done = setup("sdist", RLIVS_BUILD_CUDA="1")
    assert done.returncode == 0, done.stderr
    (found,) = (tree / "dist").glob("*.tar.gz")
    with tarfile.open(found) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    sources = {
        str(each.relative_to(ROOT))
        for each in (ROOT / "csrc").rglob("*")
        if each.suffix in (".cu", ".cuh", ".cpp", ".h")
    }
    assert sources <= names and "setup.py" in names
    assert not [name for name in names if name.endswith((".o", ".so"))]
