"""Put the results' tables into docs/quality.md: `python -m benchmarks.quality.study.document`."""

from __future__ import annotations

import re
from pathlib import Path

from .tables import markdown, read

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs" / "quality.md"
RESULTS = ROOT / "benchmarks" / "results" / "quality"
TABLE = re.compile(r"<!-- table (\w+)(?: (\w+)=(\w+))? -->\n.*?<!-- end -->", re.S)


def filled(text: str, results: Path) -> str:
    """`text` with every table between its markers as the CSV of that name has it: all rows, or those with one value."""

    def table(match: re.Match) -> str:
        name, column, value = match.groups()
        columns, rows = read(results / f"{name}.csv")
        if column:
            rows = [row for row in rows if row[columns.index(column)] == value]
        chosen = f" {column}={value}" if column else ""
        return f"<!-- table {name}{chosen} -->\n{markdown(columns, rows)}<!-- end -->"

    return TABLE.sub(table, text)


def main() -> None:
    DOCUMENT.write_text(filled(DOCUMENT.read_text(), RESULTS))


if __name__ == "__main__":
    main()
