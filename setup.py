"""Builds the CUDA extension where a CUDA compiler is found. Everything else is in pyproject.toml.

RLIVS_BUILD_CUDA   auto (default): build where nvcc is found, say what was done, go on without where it fails;
                   1: build or fail; 0: skip.
RLIVS_CUDA_ARCHS   compute capabilities, default "80;90"; PTX of the newest is added, for GPUs to come.
MAX_JOBS           compilers at a time, default the number of cores, at most 8.

Needs nvcc (CUDA_HOME, PATH or the nvidia-cuda-nvcc package; toolkit 12 or 13) and a host compiler, not torch: the
kernels take addresses and a stream. The runtime is linked statically, so importing needs no driver. What happened is
written to rlivs_kernels/_cuda_build.json, where the environment report finds it. Objects are kept in build/cuda under
the hash of all that went into them.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import cache
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
CSRC = ROOT / "csrc"
BINDINGS = "bindings.cpp"  # alone knows of Python
OBJECTS = ROOT / "build" / "cuda"
PACKAGE = "rlivs_kernels"
MODULE = "_cuda"
RECORD = "_cuda_build.json"  # as rlivs_kernels.cuda_module.BUILD_RECORD


class BuildError(Exception):
    """One line for the user."""


def requested() -> str:
    value = os.environ.get("RLIVS_BUILD_CUDA", "auto").strip().lower() or "auto"
    if value not in ("auto", "0", "1"):
        raise SystemExit(f"RLIVS_BUILD_CUDA is {value!r}; use auto, 0 or 1")
    return value


def architectures() -> list[str]:
    """Such as ["80", "90"], in ascending order."""
    found = re.split(r"[;, ]+", os.environ.get("RLIVS_CUDA_ARCHS", "80;90").strip())
    found = [each.replace(".", "") for each in found if each]
    if not found or any(not re.fullmatch(r"\d{2,3}", each) or int(each) < 80 for each in found):
        raise BuildError(
            f"RLIVS_CUDA_ARCHS is {os.environ.get('RLIVS_CUDA_ARCHS')!r}; give capabilities from 80 on, such as 80;90"
        )
    return sorted(set(found), key=int)


def package_directories() -> list[Path]:
    """Where pip puts the parts of a CUDA toolkit: nvidia/<part> of each directory modules are imported from."""
    roots = [Path(entry) for entry in sys.path if entry]
    if environment := os.environ.get("VIRTUAL_ENV"):  # build isolation hides it from sys.path
        roots += sorted(Path(environment).glob("lib/python*/site-packages"))
    return [part for root in roots for part in sorted((root / "nvidia").glob("*")) if part.is_dir()]


@cache
def find_nvcc() -> Path | None:
    homes = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    candidates = [Path(home) / "bin" / "nvcc" for home in homes if home]
    if on_path := shutil.which("nvcc"):
        candidates.append(Path(on_path))
    candidates += [part / "bin" / "nvcc" for part in package_directories()]
    return next((each for each in candidates if each.is_file() and os.access(each, os.X_OK)), None)


@cache
def nvcc_version(nvcc: Path) -> str:
    output = run([str(nvcc), "--version"])
    found = re.search(r"release (\d+\.\d+)", output)
    if not found:
        raise BuildError(f"{nvcc} --version names no release")
    if int(found[1].split(".")[0]) < 12:
        raise BuildError(f"{nvcc} is CUDA {found[1]}; 12.0 or later is needed")
    return found[1]


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        output = (done.stdout + done.stderr).strip()
        print(f"{' '.join(command)}\n{output}", file=sys.stderr)
        line = next((each for each in output.splitlines() if "error" in each.lower()), output[-300:])
        raise BuildError(f"{Path(command[0]).name} failed: {line.strip()}")
    return done.stdout


def compile_flags(nvcc: Path) -> list[str]:
    archs = architectures()
    flags = ["-std=c++17", "-O3", "-Xcompiler", "-fPIC,-fvisibility=hidden,-Wall"]
    for arch in archs[:-1]:
        flags += ["-gencode", f"arch=compute_{arch},code=sm_{arch}"]
    newest = archs[-1]
    flags += ["-gencode", f"arch=compute_{newest},code=[sm_{newest},compute_{newest}]"]
    names = [f"sm_{arch}" for arch in archs] + [f"compute_{newest}"]
    flags += [f"-DRLIVS_MODULE={MODULE}", f'-DRLIVS_ARCHITECTURES="{";".join(names)}"']
    flags += [f'-DRLIVS_NVCC_VERSION="{nvcc_version(nvcc)}"']
    includes = [CSRC, CSRC / "include"]
    includes += [part / "include" for part in parts_beside(nvcc)]
    return flags + [f"-I{each}" for each in includes]


def binding_flags() -> tuple[list[str], str]:
    """Where bindings.cpp finds pybind11 and Python, and what tells them apart: pip has a new folder for each build."""
    import sysconfig

    import pybind11

    python = sysconfig.get_path("include")
    return [f"-I{pybind11.get_include()}", f"-I{python}"], f"{pybind11.__version__} {python}"


def parts_beside(nvcc: Path) -> list[Path]:
    """The other parts of a toolkit that came as packages; none for an ordinary toolkit, which nvcc knows."""
    return [part for part in package_directories() if part.parent in nvcc.parents and (part / "include").is_dir()]


def compile_all(nvcc: Path) -> list[Path]:
    """Objects of all sources, compiled side by side; unchanged ones are taken as they are."""
    flags = compile_flags(nvcc)
    headers = sorted([*CSRC.glob("include/**/*.cuh"), *CSRC.glob("*.cuh"), *CSRC.glob("*.h")])
    common = hashlib.sha256("\0".join([*flags, str(nvcc), nvcc_version(nvcc)]).encode())
    for header in headers:
        common.update(header.read_bytes())
    OBJECTS.mkdir(parents=True, exist_ok=True)

    def compile_one(source: Path) -> Path:
        key = common.copy()
        key.update(source.read_bytes())
        more, told_apart = binding_flags() if source.name == BINDINGS else ([], "")
        key.update(told_apart.encode())
        target = OBJECTS / f"{source.stem}-{key.hexdigest()[:16]}.o"
        if not target.exists():
            partial = target.with_suffix(f".{os.getpid()}.partial.o")
            run([str(nvcc), *flags, *more, "-c", str(source), "-o", str(partial)])
            partial.replace(target)
            for old in OBJECTS.glob(f"{source.stem}-*.o"):
                if re.fullmatch(rf"{re.escape(source.stem)}-[0-9a-f]{{16}}\.o", old.name) and old != target:
                    old.unlink(missing_ok=True)
        return target

    # The largest first, so that the last job to end is a short one.
    sources = sorted([*CSRC.glob("*.cpp"), *CSRC.glob("*.cu")], key=lambda each: (each.suffix, each.name))
    jobs = int(os.environ.get("MAX_JOBS") or min(os.cpu_count() or 1, 8))
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        pending = [pool.submit(compile_one, source) for source in sources]
        done, _ = wait(pending, return_when=FIRST_EXCEPTION)
        for each in pending:
            each.cancel()
        if failed := next((each.exception() for each in done if each.exception()), None):
            raise failed
    return [each.result() for each in pending]


def build(target: Path) -> str:
    """Builds the module at `target`; what was done, in a line."""
    nvcc = find_nvcc()
    if nvcc is None:
        raise BuildError(
            "nvcc was not found in CUDA_HOME, on PATH or among installed packages; install a CUDA toolkit (12 or 13) "
            "or set RLIVS_BUILD_CUDA=0"
        )
    objects = compile_all(nvcc)
    target.parent.mkdir(parents=True, exist_ok=True)
    libraries = [f"-L{part / 'lib'}" for part in parts_beside(nvcc)]
    options = ["-shared", "-cudart", "static", *libraries, "-Xlinker", "--exclude-libs,ALL"]
    run([str(nvcc), *options, "-o", str(target), *map(str, objects)])
    names = ";".join(f"sm_{arch}" for arch in architectures())
    return f"built the CUDA extension for {names} with nvcc {nvcc_version(nvcc)} ({nvcc})"


def write_record(directory: Path, outcome: str, message: str) -> None:
    """outcome: built, skipped or failed."""
    print(f"rlivs-kernels: {message}", file=sys.stderr)
    directory.mkdir(parents=True, exist_ok=True)
    record = {"requested": requested(), "outcome": outcome, "message": message}
    (directory / RECORD).write_text(json.dumps(record, indent=2) + "\n")


def reason_to_skip() -> str | None:
    if requested() == "0":
        return "RLIVS_BUILD_CUDA=0: the CUDA extension is not built"
    if requested() == "auto" and sys.platform != "linux":
        return f"no CUDA on {sys.platform}: the CUDA extension is not built"
    if requested() == "auto" and find_nvcc() is None:
        return "nvcc was not found: the CUDA extension is not built (Triton serves NVIDIA GPUs without it)"
    return None


class BuildExtension(build_ext):
    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        try:
            message = build(target)
        except BuildError as error:
            if requested() == "1":
                raise SystemExit(f"rlivs-kernels: RLIVS_BUILD_CUDA=1, but {error}") from error
            target.unlink(missing_ok=True)  # of an earlier build, in an editable install
            write_record(target.parent, "failed", f"the CUDA extension could not be built: {error}")
            return
        write_record(target.parent, "built", message)

    def copy_extensions_to_source(self) -> None:
        """Editable: the build's files go beside the package's sources, those that there are."""
        source = ROOT / PACKAGE
        built = Path(self.build_lib) / PACKAGE
        for stale in source.glob(f"{MODULE}.*.so"):
            stale.unlink()
        for file in [*built.glob(f"{MODULE}.*.so"), built / RECORD]:
            if file.resolve().parent != source:
                shutil.copy2(file, source / file.name)

    def get_output_mapping(self) -> dict[str, str]:
        return {built: source for built, source in super().get_output_mapping().items() if Path(source).exists()}

    def get_outputs(self) -> list[str]:
        return [each for each in super().get_outputs() if Path(each).exists()]


class BuildPython(build_py):
    def run(self) -> None:
        super().run()
        if reason := reason_to_skip():
            editable = getattr(self, "editable_mode", False)
            directory = ROOT / PACKAGE if editable else Path(self.build_lib) / PACKAGE
            if editable:
                for stale in directory.glob(f"{MODULE}.*.so"):
                    stale.unlink()
            write_record(directory, "skipped", reason)


setup(
    ext_modules=[] if reason_to_skip() else [Extension(f"{PACKAGE}.{MODULE}", sources=[])],
    cmdclass={"build_ext": BuildExtension, "build_py": BuildPython},
)
