"""What holds for the two packages as a whole."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import rlivs
import rlivs_kernels

ROOT = Path(__file__).resolve().parents[1]


def imported_by(statement):
    code = f"import sys; {statement}; print('\\n'.join(sorted(sys.modules)))"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_the_kernels_know_no_models():
    modules = imported_by("import rlivs_kernels")
    assert not {name for name in modules if name.split(".")[0] in {"transformers", "rlivs", "triton"}}


@pytest.mark.parametrize("module", ["rlivs", "rlivs.cli"])
def test_importing_the_upper_package_loads_nothing_heavy(module):
    modules = imported_by(f"import {module}")
    assert not {name for name in modules if name.split(".")[0] in {"torch", "transformers", "av"}}


def test_both_packages_have_the_version_of_the_distribution():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert rlivs.__version__ == rlivs_kernels.__version__ == version


def test_no_source_of_the_kernels_names_transformers():
    for path in (ROOT / "rlivs_kernels").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "import transformers" not in text and "from transformers" not in text, path


def test_importing_everything_changes_nothing_in_transformers():
    code = (
        "from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS as functions; before = set(functions); "
        "import rlivs.scoring, rlivs.backbones, rlivs.streaming; assert set(functions) == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
