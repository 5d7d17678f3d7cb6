"""`rlivs doctor`: what is installed, what was built, and what would serve here."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import typer

from rlivs.cli import options
from rlivs.cli.terminal import print_json

PACKAGES = ("rlivs-kernels", "transformers", "av", "safetensors", "pydantic", "flash-attn")

# What is told of what is not there: most of it is a package.
ABSENT = {"error": "none", "driver": "none", "build": "none", "cuda": "none"}


def doctor(json: options.Json = False) -> None:
    """Show versions, GPUs, the state of the CUDA build, and the backend each operation would take here."""
    import rlivs_kernels
    from rlivs.backbones.checkpoint import EMBEDDED, embedded_checkpoint

    report: dict[str, Any] = {
        "packages": {name: _version(name) for name in PACKAGES},
        "model": {EMBEDDED: (embedded_checkpoint() / "model.safetensors").is_file()},
        "kernels": rlivs_kernels.environment_report(),
    }
    if json:
        print_json(report)
        return
    _print_tree(report)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _print_tree(tree: dict[str, Any], depth: int = 0) -> None:
    for name, value in tree.items():
        if isinstance(value, dict):
            typer.echo(f"{'  ' * depth}{name}:")
            _print_tree(value, depth + 1)
        else:
            typer.echo(f"{'  ' * depth}{name}: {ABSENT.get(name, 'not installed') if value is None else _told(value)}")


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
