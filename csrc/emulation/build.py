"""Builds the kernels for the CPU emulator: a module `_cuda_emulated`, called as rlivs_kernels._cuda.

`python csrc/emulation/build.py [directory]` prints its path. Objects are kept in the directory under the hash of what
went into them; several processes may build at a time.
"""

import hashlib
import os
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pybind11

HERE = Path(__file__).resolve().parent
CSRC = HERE.parent
DEFAULT = CSRC.parent / "build" / "emulation"
MODULE = "_cuda_emulated"
FLAGS = [
    *("-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wno-unknown-pragmas", "-DRLIVS_EMULATION"),
    *(f"-DRLIVS_MODULE={MODULE}", '-DRLIVS_ARCHITECTURES="emulation"', '-DRLIVS_NVCC_VERSION="none"'),
    *(f"-I{path}" for path in (CSRC / "include", CSRC, HERE, pybind11.get_include(), sysconfig.get_path("include"))),
]
COMPILER = os.environ.get("CXX", "c++")


def build(directory: Path = DEFAULT) -> Path:
    """Path of the module."""
    sources = sorted([*CSRC.glob("*.cpp"), *CSRC.glob("*.cu"), HERE / "simt.cpp"], key=lambda each: each.suffix)
    objects = compile_all(sources, directory)
    key = hashlib.sha256("".join(each.name for each in objects).encode()).hexdigest()[:16]
    target = directory / key / f"{MODULE}{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        _write(target, ["-shared", *map(str, objects)])
    return target


def compile_all(sources: list[Path], directory: Path = DEFAULT) -> list[Path]:
    headers = sorted([*CSRC.glob("include/**/*.cuh"), *CSRC.glob("*.cuh"), *CSRC.glob("*.h"), *HERE.glob("*.h")])
    common = hashlib.sha256("\0".join([COMPILER, *FLAGS]).encode() + b"".join(each.read_bytes() for each in headers))
    directory.mkdir(parents=True, exist_ok=True)

    def compile_one(source: Path) -> Path:
        key = common.copy()
        key.update(source.read_bytes())
        target = directory / f"{source.stem}-{key.hexdigest()[:16]}.o"
        if not target.exists():
            _write(target, [*FLAGS, "-x", "c++", "-c", str(source)])
        return target

    with ThreadPoolExecutor(max_workers=int(os.environ.get("MAX_JOBS") or min(os.cpu_count() or 1, 8))) as pool:
        return list(pool.map(compile_one, sources))


def _write(target: Path, arguments: list[str]) -> None:
    partial = target.with_name(f"{os.getpid()}-{target.name}")
    done = subprocess.run([COMPILER, *arguments, "-o", str(partial)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{COMPILER} failed on {target.name}:\n{done.stderr}")
    partial.replace(target)


if __name__ == "__main__":
    print(build(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT))
