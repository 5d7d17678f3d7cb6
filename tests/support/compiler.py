"""The C++ compiler, for what is compiled while tests run."""

import os
import shutil

import pytest

NAME = os.environ.get("CXX", "c++")
WITHOUT = f"there is no C++ compiler ({NAME})"

needs_compiler = pytest.mark.skipif(shutil.which(NAME) is None, reason=WITHOUT)


def compiler() -> str:
    """Its name. Skips the test where there is none."""
    if shutil.which(NAME) is None:
        pytest.skip(WITHOUT)
    return NAME
