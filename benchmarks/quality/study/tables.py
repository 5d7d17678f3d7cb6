"""Tables as CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Table:
    """A named table of text cells."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: list[list[str]] = field(default_factory=list)

    def add(self, *cells: str | float | int) -> None:
        row = [f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells]
        if len(row) != len(self.columns):
            raise ValueError(f"{self.name}: {len(row)} cells for {len(self.columns)} columns")
        self.rows.append(row)

    def write(self, directory: Path) -> None:
        """`NAME.csv` and `NAME.md`."""
        directory.mkdir(parents=True, exist_ok=True)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        (directory / f"{self.name}.csv").write_text(text.getvalue())
        (directory / f"{self.name}.md").write_text(f"### {self.title}\n\n{markdown(self.columns, self.rows)}")


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; numbers are right-aligned."""
    lines = ["| " + " | ".join(columns) + " |"]
    numeric = [all(_number(row[i]) for row in rows) for i in range(len(columns))]
    lines.append("| " + " | ".join("---:" if right else "---" for right in numeric) + " |")
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a CSV."""
    with path.open(newline="") as file:
        columns, *rows = csv.reader(file)
    return columns, rows


def _number(cell: str) -> bool:
    return cell.replace(".", "").replace("-", "").isdigit() or cell in ("", "nan")
