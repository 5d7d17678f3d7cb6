"""Put the results' tables into docs/quality.md: `python -m benchmarks.quality.study.document`."""

from __future__ import annotations

import re
from pathlib import Path

from .tables import markdown, read

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs" / "quality.md"
RESULTS = ROOT / "benchmarks" / "results" / "quality"
TABLE = re.compile(r"<!-- table (\w+) -->\n.*?<!-- end -->", re.S)


def filled(text: str, results: Path) -> str:
    """`text` with every table between its markers as the CSV of that name has it."""

    def table(match: re.Match) -> str:
        columns, rows = read(results / f"{match[1]}.csv")
        return f"<!-- table {match[1]} -->\n{markdown(columns, rows)}<!-- end -->"

    return TABLE.sub(table, text)


def main() -> None:
    DOCUMENT.write_text(filled(DOCUMENT.read_text(), RESULTS))


if __name__ == "__main__":
    main()
