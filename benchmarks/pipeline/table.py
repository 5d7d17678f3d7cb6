"""What was measured as a Markdown table, the papers' rows beside it, and as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Question latency in seconds and memory in GB as rLiVS's paper prints them (arXiv 2510.17364), on an A100.
PAPERS = (
    ("llava-onevision-7b", "rLiVS (paper, A100)", 1.9, 25),
    ("llava-onevision-7b", "ReKV (paper, A100)", 2.7, 36),
    ("llava-onevision-0.5b", "rLiVS (paper, A100)", 1.5, 11),
    ("llava-onevision-0.5b", "ReKV (paper, A100)", None, 19),
    ("qwen2.5-vl-7b", "rLiVS (paper, A100)", 2.7, 19),
)
COLUMNS = (
    "model", "way", "caption token, ms", "of its floor", "clip, s", "scoring, ms", "question, s", "its floor, s",
    "peak, GB", "weights, GB",
)  # fmt: skip
GB = 2**30 / 1e9


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """One line a model and way, and the papers' lines for the models that were run."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for model in dict.fromkeys(row["model"] for row in rows):
        for way in dict.fromkeys(row["way"] for row in rows if row["model"] == model):
            stages = {row["stage"]: row for row in rows if (row["model"], row["way"]) == (model, way)}
            lines.append("| " + " | ".join([model, way, *_cells(stages)]) + " |")
        for name, way, latency, memory in PAPERS:
            if name == model:
                shown = "-" if latency is None else f"{latency}"
                lines.append(f"| {name} | {way} | - | - | - | - | {shown} | - | {memory} | - |")
    one = rows[0] if rows else {}
    lines += [
        "",
        f"{one.get('device')}, torch {one.get('torch')}, transformers {one.get('transformers')}, commit "
        f"{one.get('commit')}. Medians. Random weights: the texts mean nothing, their lengths are fixed. Floors by the "
        "copy and matrix rates measured in the same process: " + _rates(rows),
    ]
    return "\n".join(lines) + "\n"


def _cells(stages: dict[str, dict[str, Any]]) -> list[str]:
    def of(stage: str, column: str, scale: float = 1.0, digits: int = 2, unit: str = "") -> str:
        value = stages.get(stage, {}).get(column)
        return "-" if value is None else f"{scale * value:.{digits}f}{unit}"

    peaks = [stages[stage]["peak_gib"] for stage in ("clip", "question") if stages.get(stage, {}).get("peak_gib")]
    cells = [
        of("caption token, mean of a caption", "p50_ms"),
        of("caption token, mean of a caption", "fraction_of_floor", 100, 0, " %"),
        of("clip", "p50_ms", 1e-3),
        of("scoring", "p50_ms", digits=3),
        of("question", "p50_ms", 1e-3),
        of("question", "floor_ms", 1e-3),
        f"{GB * max(peaks):.2f}" if peaks else "-",
        of("weights", "peak_gib", GB),
    ]
    notes = [f"{stage}: {row['note']}" for stage, row in stages.items() if row["p50_ms"] is None and stage != "weights"]
    notes += [row["note"] for stage, row in stages.items() if stage == "weights" and row["peak_gib"] is None]
    if notes:
        cells[-1] += f" ({'; '.join(notes)})".replace("|", "/")
    return cells


def _rates(rows: Sequence[dict[str, Any]]) -> str:
    copies = [row["copy_gb_per_s"] for row in rows if row["copy_gb_per_s"] is not None]
    products = [row["matmul_tflop_per_s"] for row in rows if row["matmul_tflop_per_s"] is not None]
    if not copies:
        return "none."
    return (
        f"{min(copies):.0f} to {max(copies):.0f} GB/s, {min(products):.2f} to {max(products):.2f} TFLOP/s. A GB is 1e9."
    )


def plot(rows: Sequence[dict[str, Any]], path: Path) -> Path | None:
    """Question latency and a caption token's time by model and way, floors dotted; None without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    models = list(dict.fromkeys(row["model"] for row in rows))
    ways = list(dict.fromkeys(row["way"] for row in rows))
    figure, axes = pyplot.subplots(1, 2, figsize=(5 * max(1, len(models)), 4))
    for axis, (stage, title) in zip(
        axes, (("caption token", "a caption's token, ms"), ("question", "a question, ms")), strict=True
    ):
        for offset, way in enumerate(ways):
            for place, model in enumerate(models):
                found = [r for r in rows if (r["model"], r["way"], r["stage"]) == (model, way, stage) and r["p50_ms"]]
                left = place + 0.8 * (offset / max(1, len(ways)) - 0.4)
                label = way if place == 0 else None
                axis.bar(left, found[0]["p50_ms"] if found else 0, 0.8 / len(ways), label=label, color=f"C{offset}")
                if found and found[0]["floor_ms"]:
                    axis.hlines(found[0]["floor_ms"], place - 0.45, place + 0.45, color="black", linestyle=":")
        axis.set(title=f"{title} (floor dotted)", xticks=range(len(models)), xticklabels=models)
        axis.tick_params(axis="x", labelsize="small")
    axes[0].legend(fontsize="small")
    one = rows[0] if rows else {}
    figure.suptitle(f"{one.get('device')}, commit {one.get('commit')}", fontsize="small")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
    return path
