"""What transformers calls the same thing in one version and in another."""

from __future__ import annotations

import inspect
from typing import Any


def cache_argument(module: Any) -> str:
    """The name by which the forward of a decoder, or of one of its modules, takes the KV cache.

    `past_key_values` up to transformers 5.23, `cache` from 5.24 on, which warns of the earlier name at every call.
    """
    return "cache" if "cache" in inspect.signature(module.forward).parameters else "past_key_values"
