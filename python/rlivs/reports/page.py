"""A report as one HTML file that needs nothing beside it."""

import base64
import hashlib
import os
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rlivs.errors import InputError
from rlivs.reports.data import Report
from rlivs.reports.view import report_view


def render_report(report: Report) -> str:
    """The whole page as HTML: styles, script and pictures inside, no address outside. Same report, same text."""
    script = _file("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template("report.html")
        .render(**report_view(report), style=Markup(_file("report.css")), script=Markup(script), script_hash=digest)
    )


def write_report(report: Report, path: str | os.PathLike[str]) -> Path:
    """Write `render_report(report)` to `path`, whole or not at all, and return the path.

    Raises InputError when the directory is missing or cannot be written to.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise InputError(f"the directory {target.parent} does not exist; create it or choose another path")
    if target.is_dir():
        raise InputError(f"{target} is a directory; give the report a file name such as report.html")
    # A file name that is not UTF-8 reaches here as lone surrogates, which no UTF-8 file can hold.
    content = render_report(report).encode("utf-8", errors="replace")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}; choose another path") from error
    finally:
        part.unlink(missing_ok=True)
    return target


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("rlivs.reports", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _file(name: str) -> str:
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
