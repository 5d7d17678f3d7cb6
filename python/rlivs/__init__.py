"""rLiVS: streaming video question answering with a memory, on any Hugging Face video language model.

`patch` taps a model for attention column sums; `StreamingVideoQA` runs the whole pipeline. Importing this package
imports neither: each is loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlivs.config import PipelineConfig
    from rlivs.errors import InputError
    from rlivs.scoring import patch
    from rlivs.streaming import StreamingVideoQA

__version__ = "0.1.0"
__all__ = ["InputError", "PipelineConfig", "StreamingVideoQA", "__version__", "patch"]

_HOMES = {
    "InputError": "rlivs.errors",
    "PipelineConfig": "rlivs.config",
    "StreamingVideoQA": "rlivs.streaming",
    "patch": "rlivs.scoring",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rlivs' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
