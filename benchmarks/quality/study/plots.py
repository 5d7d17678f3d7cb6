"""Plots from the tables' CSV files."""

from __future__ import annotations

from pathlib import Path

from .tables import read


def draw(directory: Path) -> None:
    """One PNG for tokens kept, memory and retrieval each, where there is such a table."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    def finish(figure, axes, name: str) -> None:
        axes.set_ylabel("right %")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
        figure.tight_layout()
        figure.savefig(directory / f"{name}.png", dpi=110, metadata={"Software": None})
        pyplot.close(figure)

    if (directory / "tokens_kept.csv").exists():
        columns, rows = read(directory / "tokens_kept.csv")
        figure, axes = pyplot.subplots(figsize=(6, 4))
        for method in dict.fromkeys(row[columns.index("method")] for row in rows):
            mine = [row for row in rows if row[columns.index("method")] == method]
            style = "o" if method == "all" else "o-"
            axes.plot([100 * int(row[0]) / 256 for row in mine], [float(row[3]) for row in mine], style, label=method)
        axes.set_xscale("log")
        axes.set_xlabel("tokens kept, %")
        finish(figure, axes, "tokens_kept")

    if (directory / "recurrence_hiding.csv").exists():
        columns, rows = read(directory / "recurrence_hiding.csv")
        rows = rows[::-1]
        share = [float(row[columns.index("needs past %")]) for row in rows]
        ends = [[float(end) for end in row[columns.index("its 95 % interval")].split("-")] for row in rows]
        around = [[max(0.0, value - low) for value, (low, _) in zip(share, ends, strict=True)]]
        around += [[max(0.0, high - value) for value, (_, high) in zip(share, ends, strict=True)]]
        figure, axes = pyplot.subplots(figsize=(7, 4))
        axes.barh([row[0] for row in rows], share, xerr=around, color="#7aa6d8", ecolor="#444", capsize=3)
        axes.set_xlabel("exact captions where the past is needed, % (95 % intervals)")
        axes.set_xlim(0, 100)
        axes.grid(axis="x", alpha=0.3)
        figure.tight_layout()
        figure.savefig(directory / "recurrence.png", dpi=110, metadata={"Software": None})
        pyplot.close(figure)

    if (directory / "retrieval.csv").exists():
        columns, rows = read(directory / "retrieval.csv")
        figure, axes = pyplot.subplots(figsize=(6, 4))
        for way in dict.fromkeys(row[2] for row in rows if row[0] != "all"):
            mine = [row for row in rows if row[2] == way]
            axes.plot([int(row[0]) for row in mine], [float(row[3]) for row in mine], "o-", label=way)
        axes.set_xlabel("budget, tokens of captions")
        finish(figure, axes, "retrieval")
