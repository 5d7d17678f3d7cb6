"""The compiled CUDA extension, if there is one; why not, if there is none."""

import functools
import importlib
import json
from importlib import resources
from types import ModuleType

import torch

# Written by the build: what was asked for, what was built, what failed.
BUILD_RECORD = "_cuda_build.json"


@functools.cache
def load() -> ModuleType | ImportError:
    """The extension module, or the error that importing it gave."""
    try:
        return importlib.import_module("rlivs_kernels._cuda")
    except ImportError as error:
        return error


def extension() -> ModuleType:
    """The extension module. Raises the ImportError that importing it gave."""
    module = load()
    if isinstance(module, ImportError):
        raise module
    return module


def limit(device: torch.device) -> str | None:
    """Why the extension cannot serve tensors on `device`; None when it can."""
    if device.type != "cuda":
        return f"it needs CUDA tensors, got {device.type}"
    module = load()
    if isinstance(module, ImportError):
        return f"the CUDA extension is not there: {_reason(module)}"
    capability = torch.cuda.get_device_capability(device)
    if capability < (8, 0):
        return f"it needs a GPU of compute capability 8.0 or later, got {capability[0]}.{capability[1]}"
    return _refusal(torch.cuda.current_device() if device.index is None else device.index)


@functools.cache
def _refusal(index: int) -> str | None:
    """What CUDA says when it is asked for a kernel of each operation on this GPU; None when it has them: a driver may
    be too old for the runtime in the extension, and an extension may have been built for other GPUs."""
    module = extension()
    try:
        module.DecodePlan(index, 0, 1, 1, 1, 16, 16, 64)
        module.ColumnSumsPlan(index, 0, 1, 1, 1, 1, 16, 16, 16, 64, False, False)
    except RuntimeError as error:
        info = module.build_info()
        built = f"nvcc {info['nvcc']} for {info['architectures']}"
        return f"the CUDA extension does not run on this GPU: {error} (built by {built}; build it on this machine)"
    return None


def shared_memory(device: torch.device) -> int:
    """Bytes of shared memory that a block may take; 0 where torch does not tell."""
    return getattr(torch.cuda.get_device_properties(device), "shared_memory_per_block_optin", 0)


def current_stream(device: torch.device) -> int:
    """Handle of torch's current stream on `device`."""
    return torch.cuda.current_stream(device).cuda_stream


def status() -> dict:
    """For the environment report: built, architectures, error (of the build or the import, or None), nvcc, build."""
    module = load()
    if isinstance(module, ImportError):
        return {"built": False, "architectures": [], "error": _reason(module), "nvcc": None, "build": build_record()}
    info = module.build_info()
    return {
        "built": True,
        "architectures": info["architectures"].split(";"),
        "error": None,
        "nvcc": info["nvcc"],
        "build": build_record(),
    }


def build_record() -> dict | None:
    """What the build wrote down: requested, outcome, message. None for a tree that was never built."""
    record = resources.files("rlivs_kernels").joinpath(BUILD_RECORD)
    return json.loads(record.read_text()) if record.is_file() else None


def _reason(error: ImportError) -> str:
    """The import error, preceded by what the build said where it built nothing."""
    record = build_record()
    if record is None:
        return f"{error} (never built: install with RLIVS_BUILD_CUDA=1)"
    if record["outcome"] != "built":
        return f"{record['message']} ({error})"
    return str(error)
