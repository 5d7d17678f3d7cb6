"""What is installed, what was built, and which backend an operation would take here."""

import importlib
import importlib.metadata
import platform

import torch

from rlivs_kernels import backends


def environment_report() -> dict:
    """Versions, GPUs, the state of the CUDA extension and the backends, as a dict that json.dumps takes.

    Keys: versions, gpus (name, capability, multiprocessors, memory_gib), cuda_extension (built, architectures, nvcc,
    build, error), backends (for each operation: auto, the backend a common call would take, and limits, why each of
    the others would not serve it).
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return {
        "versions": {
            "rlivs-kernels": _version("rlivs-kernels"),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "triton": _version("triton"),
            "cuda": torch.version.cuda,
            "driver": _driver(),
            "platform": platform.platform(),
        },
        "gpus": [_gpu(index) for index in range(torch.cuda.device_count())],
        "cuda_extension": _extension(),
        "backends": {operation: _backends(operation, device) for operation in ("column_sums", "decode_attention")},
    }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _driver() -> str | None:
    """The driver's highest CUDA version, as `12.8`."""
    if not torch.cuda.is_available():
        return None
    version = getattr(torch._C, "_cuda_getDriverVersion")()  # noqa: B009 - absent from the stubs of a CPU build
    return f"{version // 1000}.{version % 1000 // 10}"


def _gpu(index: int) -> dict:
    properties = torch.cuda.get_device_properties(index)
    return {
        "name": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_gib": round(properties.total_memory / 2**30, 1),
    }


def _extension() -> dict:
    try:
        return importlib.import_module("rlivs_kernels.cuda_module").status()
    except ImportError as error:
        return {"built": False, "architectures": [], "error": str(error)}


def _backends(operation: str, device: str) -> dict:
    """For half-precision tensors of head size 128 and 7 query heads a KV head, on this machine's device."""
    query = torch.empty(1, 7, 1, 128, dtype=torch.float16, device=device)
    key = torch.empty(1, 1, 16, 128, dtype=torch.float16, device=device)
    limits = {name: backends.limit(operation, name, [query], [key], {}) for name in backends.NAMES}
    auto, _ = backends.pick(operation, "auto", [query], [key], {})
    return {"auto": auto, "limits": {name: reason for name, reason in limits.items() if reason is not None}}
