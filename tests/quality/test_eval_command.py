"""`rlivs eval synthetic` runs the study, and says what it needs where the world is not at hand."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rlivs.cli.evaluate import synthetic
from rlivs.errors import InputError


def test_without_a_source_checkout_it_says_so_in_one_line(tmp_path):
    code = "import sys; sys.modules['benchmarks'] = None; from rlivs.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "eval", "synthetic"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "source checkout" in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_it_hands_the_model_and_the_plan_to_the_study(tmp_path, monkeypatch, capsys):
    from benchmarks.quality.study import __main__ as study_main
    from benchmarks.quality.study.plan import MICRO
    from benchmarks.quality.study.tables import Table

    seen = []

    def study(model, plan, out, cache):
        seen.append((model.name, plan))
        table = Table("one", "One", ("way", "right %"))
        table.add("attention", 50.0)
        table.write(out)

    monkeypatch.setattr(study_main, "study", study)
    synthetic(model="tiny-onevision", out=tmp_path / "out", micro=True, threads=1, json=True)
    assert seen == [("tiny-onevision", MICRO)]
    assert capsys.readouterr().out == '{"table": "one", "way": "attention", "right %": "50.0"}\n'


def test_a_model_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError):
        synthetic(model=str(tmp_path / "none"), out=tmp_path / "out", micro=True, threads=1, json=False)
