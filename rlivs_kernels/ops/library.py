"""The torch.library namespace the operations are registered in, and what holds of all of them."""

from contextlib import AbstractContextManager, nullcontext

import torch

# define/impl and not custom_op: it costs 6 us a call on the host in place of 11.
LIBRARY = torch.library.Library("rlivs_kernels", "DEF")
_AS_IT_IS = nullcontext()


def without_autocast(device_type: str) -> AbstractContextManager:
    """Within it, products of float32 inputs are not run in half precision."""
    # Asked first: entering autocast costs the host some microseconds, which each step of each layer would pay.
    return torch.autocast(device_type, enabled=False) if torch.is_autocast_enabled(device_type) else _AS_IT_IS
