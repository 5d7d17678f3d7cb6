"""`rlivs bench` hands on to the benchmarks of the source tree."""

import importlib
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import rlivs.cli


@pytest.fixture(params=["kernels", "pipeline"])
def what(request):
    return request.param


def test_arguments_are_passed_on(what, monkeypatch):
    run = importlib.import_module(f"benchmarks.{what}.run")
    given = []
    monkeypatch.setattr(run, "main", lambda arguments: given.append(arguments) or 3)
    result = CliRunner().invoke(rlivs.cli.app, ["bench", what, "--quick", "--out", "x.csv", "--help"])
    assert given == [["--quick", "--out", "x.csv", "--help"]]
    assert result.exit_code == 3


def test_outside_a_source_checkout(what, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys.modules["rlivs.cli.source_tree"], "SOURCE_TREE", tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if not (Path(path) / "benchmarks").is_dir()])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["rlivs", "bench", what])
    with pytest.raises(SystemExit) as ended:
        rlivs.cli.main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "source checkout" in error and f"benchmarks.{what}.run" in error


def test_help_names_the_benchmarks():
    result = CliRunner().invoke(rlivs.cli.app, ["bench", "--help"])
    assert result.exit_code == 0
    assert "kernels" in result.output and "pipeline" in result.output
