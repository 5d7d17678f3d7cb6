"""What `rlivs serve` says before a model is loaded."""

import socket
import subprocess
import sys

import pytest

from rlivs.cli.serve import serve
from rlivs.errors import InputError
from rlivs.serving.settings import make_settings


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn", "prometheus_client"])
def test_without_the_extra(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=rf"{missing}.*pip install '\.\[serve\]'"):
        serve()


def test_the_package_does_not_need_the_extra():
    """In a process of its own: modules that are imported twice would be another test's."""
    missing = ("fastapi", "uvicorn", "prometheus_client", "starlette")
    code = f"import sys; sys.modules.update(dict.fromkeys({missing})); import rlivs, rlivs.cli"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"token": "short"}, "token"), ({"port": 70000}, "port"), ({"root": ["no-such-folder"]}, "no-such-folder"),
        ({"sources": ["???"]}, "NAME="), ({"max_streams": 0}, "max_streams"),
    ],
)  # fmt: skip
def test_options_that_are_refused(options, words):
    with pytest.raises(InputError, match=words) as refusal:
        serve(**options)
    assert "\n" not in str(refusal.value)


def test_a_port_that_is_taken():
    from rlivs.serving.server import _listen

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError, match="--port"):
        _listen(make_settings(port=taken.getsockname()[1]))
