"""The torch.library namespace the operations are registered in, and what holds of all of them."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

# define/impl and not custom_op: it costs 6 us a call on the host in place of 11.
LIBRARY = torch.library.Library("rlivs_kernels", "DEF")
_AS_IT_IS = nullcontext()

# By device type: how many calls are within ieee_products, and the setting that the last of them gives back.
_lock = threading.Lock()
_within = {"cpu": 0, "cuda": 0}
_found: dict[str, str] = {}


def full_precision(device_type: str, of_torch: bool) -> AbstractContextManager:
    """Within it, products of float32 inputs are run in no less. of_torch: also those that torch makes itself."""
    return ieee_products(device_type) if of_torch else _without_autocast(device_type)


def _without_autocast(device_type: str) -> AbstractContextManager:
    # Asked first: entering autocast costs the host some microseconds, which each step of each layer would pay.
    return torch.autocast(device_type, enabled=False) if torch.is_autocast_enabled(device_type) else _AS_IT_IS


@contextmanager
def ieee_products(device_type: str) -> Iterator[None]:
    """Within it, torch's products of float32 inputs are not run in TF32 or bfloat16, whatever autocast and
    torch.set_float32_matmul_precision say. The latter is a setting of the process: calls of several threads share the
    change, and the last one takes it back."""
    library: Any = torch.backends.cuda if device_type == "cuda" else torch.backends.mkldnn
    matmul = library.matmul
    with _lock:
        if _within[device_type] == 0:
            _found[device_type] = matmul.fp32_precision
            if _found[device_type] not in ("ieee", "none"):
                matmul.fp32_precision = "ieee"
        _within[device_type] += 1
    try:
        with _without_autocast(device_type):
            yield
    finally:
        with _lock:
            _within[device_type] -= 1
            if _within[device_type] == 0 and _found[device_type] not in ("ieee", "none"):
                matmul.fp32_precision = _found[device_type]
