"""Registers, shared memory and spills of the compiled CUDA kernels, read from the extension's file; no GPU needed."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ELEMENTS = {"Half": "float16", "BFloat16": "bfloat16"}
# As nvcc mangles them: row_lse_kernel<TensorCoreTiles<Half, 128>>, tensor_core_split_kernel<.., scored>, ..
SYMBOL = re.compile(
    r"(?P<kernel>row_lse|column_parts|row_records|column_sums|tensor_core_split|float_split|decode_combine)_kernel"
    r"(?P<arguments>\S*)"
)


def cuobjdump() -> str:
    """The tool that reads GPU code: of the CUDA toolkit, or the one Triton brings. Raises FileNotFoundError."""
    if found := shutil.which("cuobjdump"):
        return found
    try:
        import triton
    except ImportError:
        raise FileNotFoundError("cuobjdump is not on PATH and triton, which brings one, is not installed") from None
    return str(Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump")


def rows(module: ModuleType) -> list[dict]:
    """One dict a kernel and architecture: name, arch, registers, shared_bytes, spill_bytes, threads,
    matrix_instruction ("HGMMA", "HMMA" or ""). `module` is rlivs_kernels._cuda."""
    file = str(module.__file__)
    launches = {launch["name"]: launch for launch in module.launches()}
    instructions = {(arch, name): code for arch, name, code in _code(file)}
    found = []
    for arch, name, usage in _usage(file):
        launch = launches[name]
        stack, local = int(usage["STACK"]), int(usage["LOCAL"])
        code = instructions[arch, name]
        found.append(
            {
                "name": name,
                "arch": arch,
                "registers": int(usage["REG"]),
                "shared_bytes": launch["shared_bytes"],
                "spill_bytes": max(stack, local, 4 * (code.count(" STL") + code.count(" LDL"))),
                "threads": launch["threads"],
                "matrix_instruction": next((m for m in ("HGMMA", "HMMA") if f" {m}." in code), ""),
            }
        )
    return sorted(found, key=lambda row: (row["name"], row["arch"]))


def kernel_name(symbol: str) -> str | None:
    """As rlivs_kernels._cuda.launches() names it, such as "row_lse float16 D=128"; None for other symbols."""
    match = SYMBOL.search(symbol)
    if match is None:
        return None
    kernel, arguments = match["kernel"], match["arguments"]
    parts = [kernel]
    parts += [name for mangled, name in ELEMENTS.items() if re.search(rf"\d{mangled}(?=[EL])", arguments)][:1]
    if kernel == "float_split" or "FloatTiles" in arguments or (kernel == "decode_combine" and len(parts) == 1):
        parts.append("float32")
    sizes = [int(size) for size in re.findall(r"Li(\d+)E", arguments)]
    if sizes:
        parts.append(f"D={sizes[0]}")
    if kernel == "tensor_core_split":
        parts.append(f"heads={8 * sizes[1]}")
        parts += ["scored"] if "Lb1E" in arguments else []
    return " ".join(parts)


def _usage(file: str) -> Iterator[tuple[int, str, dict[str, str]]]:
    arch, name = 0, None
    for line in _run("--dump-resource-usage", file).splitlines():
        if match := re.search(r"\barch = sm_(\d+)", line):
            arch = int(match[1])
        elif match := re.search(r"Function (\S+):", line):
            name = kernel_name(match[1])
        elif name is not None and "REG:" in line:
            yield arch, name, dict(re.findall(r"(\w+):(\d+)", line))
            name = None


def _code(file: str) -> Iterator[tuple[int, str, str]]:
    """The machine code of each kernel, as text."""
    for block in re.split(r"(?=\n\s*code for sm_\d+)", _run("--dump-sass", file)):
        arch = re.search(r"code for sm_(\d+)", block)
        if arch is None:
            continue
        for function in block.split("Function : ")[1:]:
            name = kernel_name(function.split(None, 1)[0])
            if name is not None:
                yield int(arch[1]), name, function


def _run(option: str, file: str) -> str:
    return subprocess.run([cuobjdump(), option, file], check=True, capture_output=True, text=True).stdout
