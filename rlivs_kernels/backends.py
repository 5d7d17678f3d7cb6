"""Which backend serves a call, and why the others do not."""

import functools
import importlib
from types import ModuleType

from torch import Tensor

NAMES = ("reference", "torch", "triton", "cuda")
# Whose matrix products are torch's, with torch's settings.
OF_TORCH = ("reference", "torch")

# What "auto" tries, in order, by device type. On CUDA the order stands until benchmarks/kernels has been run on a GPU
# and its CSV shows another one faster for an operation: then name that operation here.
PREFERENCES: dict[str, dict[str, tuple[str, ...]]] = {
    "cpu": {"column_sums": ("torch",), "decode_attention": ("torch",)},
    "cuda": {"column_sums": ("cuda", "triton", "torch"), "decode_attention": ("cuda", "triton", "torch")},
}


@functools.cache
def load(operation: str, name: str) -> ModuleType | str:
    """The backend's module, or why it cannot be imported."""
    try:
        return importlib.import_module(f"rlivs_kernels.ops.{operation}.{name}")
    except ImportError as error:
        return f"it cannot be imported: {error}"


def limit(operation: str, name: str, queries: list[Tensor], keys: list[Tensor], options: dict) -> str | None:
    """Why this backend cannot serve this call, for its first layer that it cannot; None when it can."""
    module = load(operation, name)
    if isinstance(module, str):
        return module
    reasons = (module.limit(query, key, **options) for query, key in zip(queries, keys, strict=True))
    return next((reason for reason in reasons if reason is not None), None)


def pick(
    operation: str, requested: str, queries: list[Tensor], keys: list[Tensor], options: dict
) -> tuple[str, ModuleType]:
    """Name and module of the backend that serves the call.

    Raises ValueError when the backend asked for by name meets a limit, which it names, or is not known.
    """
    if requested == "auto":
        order = PREFERENCES.get(queries[0].device.type, PREFERENCES["cpu"])[operation]
        name = next(n for n in order if limit(operation, n, queries, keys, options) is None)
    elif requested in NAMES:
        name = requested
        reason = limit(operation, name, queries, keys, options)
        if reason is not None:
            raise ValueError(f"backend {name!r} cannot serve this call: {reason}; use backend='auto'")
    else:
        raise ValueError(f"backend {requested!r} is not known; use one of auto, {', '.join(NAMES)}")
    module = load(operation, name)
    assert isinstance(module, ModuleType)
    return name, module
