"""Draws the CSV of a benchmark: `python -m benchmarks.kernels.plot CSV OUT_DIR`. One picture an operation and model."""

import argparse
import csv
import sys
from collections import defaultdict
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("csv", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--launch", default="call", choices=["call", "graph"])
    options = parser.parse_args(arguments)
    try:
        import matplotlib
    except ImportError:
        print("matplotlib is not installed; install rlivs-kernels[bench]", file=sys.stderr)
        return 2
    matplotlib.use("Agg")
    from matplotlib import pyplot

    with options.csv.open() as file:
        rows = [row for row in csv.DictReader(file) if row["launch"] == options.launch]
    pictures = defaultdict(list)
    for row in rows:
        pictures[row["operation"], row["model"]].append(row)
    options.out.mkdir(parents=True, exist_ok=True)
    for (operation, model), of_picture in pictures.items():
        batches = sorted({int(row["batch"]) for row in of_picture})
        figure, axes = pyplot.subplots(1, len(batches), figsize=(5 * len(batches), 4), squeeze=False, sharey=True)
        for axis, batch in zip(axes[0], batches, strict=True):
            chosen = [row for row in of_picture if int(row["batch"]) == batch]
            for provider in dict.fromkeys(row["provider"] for row in chosen):
                points = sorted((int(r["keys"]), float(r["p50_us"])) for r in chosen if r["provider"] == provider)
                axis.plot(*zip(*points, strict=True), marker="o", label=provider)
            floors = sorted({(int(r["keys"]), float(r["floor_us"])) for r in chosen if r["floor_us"] and full(r)})
            if floors:
                axis.plot(*zip(*floors, strict=True), color="black", linestyle=":", label="floor")
            axis.set(xscale="log", yscale="log", xlabel="keys", title=f"batch {batch}")
        axes[0][0].set_ylabel("median, microseconds")
        axes[0][-1].legend(fontsize="x-small")
        one = of_picture[0]
        figure.suptitle(f"{operation}, {model}, {one['dtype']}: {one['device']}, commit {one['commit']}")
        figure.tight_layout()
        name = model.split(",")[0].replace(".", "_")
        figure.savefig(options.out / f"{operation}_{name}.svg")
        pyplot.close(figure)
        print(options.out / f"{operation}_{name}.svg")
    return 0


def full(row: dict) -> bool:
    """Whether the row's floor is that of the whole operation."""
    return "lse given" not in row["provider"]


if __name__ == "__main__":
    sys.exit(main())
