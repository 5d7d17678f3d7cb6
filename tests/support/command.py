"""The command line run in this process, as a shell would run it."""

import io
import json
import sys
from dataclasses import dataclass

from rlivs import cli


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def objects(self):
        return [json.loads(line) for line in self.out.splitlines()]


def runner(monkeypatch, capsys):
    """A function that runs `rlivs` with arguments and what is typed at it."""

    def run(*arguments, typed=""):
        monkeypatch.setattr(sys, "argv", ["rlivs", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run
