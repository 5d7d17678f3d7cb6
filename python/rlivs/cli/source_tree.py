"""The benchmarks, which lie in the source tree and are not installed with the package."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from rlivs.errors import InputError

SOURCE_TREE = Path(__file__).resolve().parents[3]


def benchmark(module: str) -> ModuleType:
    """The module `benchmarks.<module>`. Raises InputError where there is no source tree."""
    if (SOURCE_TREE / "benchmarks").is_dir() and str(SOURCE_TREE) not in sys.path:
        sys.path.insert(0, str(SOURCE_TREE))
    try:
        return importlib.import_module(f"benchmarks.{module}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("benchmarks"):
            raise
        name = f"benchmarks.{module}".removesuffix(".__main__")
        raise InputError(
            f"the benchmarks are not installed with the package; in a source checkout, run: python -m {name}"
        ) from None
