"""Times our kernels and their peers side by side: `python -m benchmarks.kernels.run`.

Every result is checked against the float64 reference first; a provider whose check is red is refused: it is named, it
gets no row, and the exit code is 1 if it is one of ours. With no GPU, CPU providers run on small shapes.
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch

from benchmarks.kernels import column_sum_providers, decode_providers, timing
from benchmarks.kernels.checks import Checker
from benchmarks.kernels.floors import peaks_of, work
from benchmarks.kernels.shapes import Case, cases, small_cases
from rlivs_kernels import environment_report

OPERATIONS = ("column_sums", "decode_attention")
PROVIDERS = {"column_sums": column_sum_providers.providers, "decode_attention": decode_providers.providers}
EAGER_BYTES = 24 * 2**30  # an attention map beyond this is not tried
REFUSED = "refused"
RESULTS = Path(__file__).resolve().parents[1] / "results" / "kernels.csv"


@dataclass(frozen=True)
class Row:
    """One line of the CSV, before copy_gb_per_s, the measured copy rate.

    Times in microseconds; launch is `call` (from Python) or `graph` (a CUDA graph's replay).
    """

    operation: str
    provider: str
    launch: str
    model: str
    batch: int
    heads: int
    kv_heads: int
    head_dim: int
    rows: int
    keys: int
    columns: int
    layers: int
    dtype: str
    p20_us: float
    p50_us: float
    p80_us: float
    gb_per_s: float
    tflop_per_s: float
    floor_us: float | None
    fraction_of_floor: float | None
    extra_memory_mib: float | None
    error: float
    device: str
    driver: str | None
    torch: str
    triton: str | None
    cuda: str | None
    commit: str


def measure(case: Case, device: str, seconds: float, quick: bool = False) -> Iterator[Row | str]:
    """A row a provider and kind of launch; for one that is wrong or fails, a line that says so.

    quick tries what torch.compile must compile anew for every shape at batch 1 alone.
    """
    data = column_sum_providers.inputs(case, device)
    checker = Checker(case, data)
    for name, build in PROVIDERS[case.operation](case, data).items():
        map_bytes = 4 * case.batch * case.model.num_heads * case.rows * case.keys
        if name.startswith("eager") and map_bytes > EAGER_BYTES:
            yield f"not tried: {name}: one attention map takes {map_bytes / 2**30:.0f} GiB"
            continue
        if quick and "flex" in name and case.batch > 1:
            yield f"not tried: {name}: a quick run compiles it for batch 1 alone"
            continue
        try:
            call = build()
            result = call()
            error, wrong = checker.error(result), checker.wrong(name, result)
            del result
        except Exception as failure:  # Triton's and Dynamo's errors have no common base but this
            yield _failed(name, failure)
            continue
        if wrong is not None:
            yield f"{REFUSED}: {name}: {wrong}"
            continue
        replay = None
        try:
            extra = extra_memory(call) if device == "cuda" else None
            yield row(case, name, "call", timed(call, device, seconds, host=True), extra, error, device)
            replay = timing.captured(call) if device == "cuda" and "torch" not in name else None
            if replay is not None:
                yield row(case, name, "graph", timed(replay, device, seconds), extra, error, device)
        except Exception as failure:
            yield _failed(name, failure)
        if device == "cuda":  # a graph holds its memory as long as it lives
            del call, replay
            torch.cuda.empty_cache()


def _failed(name: str, failure: Exception) -> str:
    if isinstance(failure, torch.OutOfMemoryError):
        return f"not tried: {name}: it does not fit this GPU's memory"
    reason = (str(failure).splitlines() or [""])[0] or type(failure).__name__
    return f"{REFUSED if name.startswith('ours') else 'failed'}: {name}: {reason}"


def timed(call: Callable[[], object], device: str, seconds: float, host: bool = False) -> timing.Times:
    return timing.time_on_gpu(call, seconds, host) if device == "cuda" else timing.time_on_cpu(call, seconds)


def extra_memory(call: Callable[[], object]) -> float:
    """MiB that one call allocates beyond what was there, at its peak."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def row(case: Case, name: str, launch: str, times: timing.Times, extra: float | None, error: float, device: str) -> Row:
    todo = work(case, given_lse="lse given" in name)
    report = environment()
    peaks = peaks_of(report["device"]) if device == "cuda" else None
    floor = None if peaks is None else 1e6 * todo.seconds(peaks)
    return Row(
        operation=case.operation,
        provider=name,
        launch=launch,
        model=case.model.name,
        batch=case.batch,
        heads=case.model.num_heads,
        kv_heads=case.model.num_kv_heads,
        head_dim=case.model.head_dim,
        rows=case.rows,
        keys=case.keys,
        columns=case.columns,
        layers=case.layers,
        dtype=case.dtype,
        p20_us=round(times.p20, 2),
        p50_us=round(times.p50, 2),
        p80_us=round(times.p80, 2),
        gb_per_s=round(todo.bytes / times.p50 * 1e-3, 1),
        tflop_per_s=round(todo.flops / times.p50 * 1e-6, 3),
        floor_us=None if floor is None else round(floor, 2),
        fraction_of_floor=None if floor is None else round(floor / times.p50, 3),
        extra_memory_mib=None if extra is None else round(extra, 2),
        error=float(f"{error:.2e}"),
        **report,
    )


def environment() -> dict:
    """Device, versions and commit of every row; the variable COMMIT names the commit where there is no repository."""
    report = environment_report()
    versions = report["versions"]
    commit = os.environ.get("COMMIT", "")
    if not commit and shutil.which("git"):
        command = ["git", "rev-parse", "--short", "HEAD"]
        commit = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip()
    return {
        "device": report["gpus"][0]["name"] if report["gpus"] else "cpu",
        "driver": versions["driver"],
        "torch": versions["torch"],
        "triton": versions["triton"],
        "cuda": versions["cuda"],
        "commit": commit or "unknown",
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="rlivs bench kernels", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--operation", nargs="+", default=list(OPERATIONS), choices=OPERATIONS, help="which are timed; default both"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one clip's shape and the batched ones of each model that matter"
    )
    parser.add_argument("--seconds", type=float, default=0.3, help="of repeats for each provider and case")
    parser.add_argument("--out", type=Path, help="CSV; default benchmarks/results/kernels.csv, none without a GPU")
    options = parser.parse_args(arguments)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    copy_rate = None
    if device == "cpu":
        print("no CUDA device: CPU providers on small shapes, which say nothing about a GPU")
    else:
        copy_rate = round(timing.copy_bandwidth() / 1e9, 1)
        print(f"{torch.cuda.get_device_name()}: copies {copy_rate:.0f} GB/s")
        if "decode_attention" in options.operation:
            print(*decode_providers.missing(), sep="\n")
    out = options.out or (RESULTS if device == "cuda" else Path(tempfile.mkdtemp()) / "kernels.csv")
    out.parent.mkdir(parents=True, exist_ok=True)
    wrong = False
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*(field.name for field in fields(Row)), "copy_gb_per_s"])
        writer.writeheader()
        for operation in options.operation:
            for case in cases(operation, options.quick) if device == "cuda" else small_cases(operation):
                print(f"\n{operation}: {case.model.name}, batch {case.batch}, {case.keys} keys, {case.columns} columns")
                try:
                    for found in measure(case, device, options.seconds, options.quick):
                        wrong |= show(found)
                        if isinstance(found, Row):
                            writer.writerow({**asdict(found), "copy_gb_per_s": copy_rate})
                            file.flush()
                except torch.OutOfMemoryError:
                    print("  left out: it does not fit this GPU's memory")
                if device == "cuda":
                    torch.cuda.empty_cache()
    print(f"\n{out}")
    return 1 if wrong else 0


def show(found: Row | str) -> bool:
    """Prints a result; True where one of ours is wrong."""
    if isinstance(found, str):
        print(f"  {found}")
        return found.startswith(f"{REFUSED}: ours")
    floor = "" if found.fraction_of_floor is None else f"  {found.fraction_of_floor:.0%} of the floor"
    print(
        f"  {found.provider:<40} {found.launch:<6} {found.p50_us:>10.1f} us ({found.p20_us:.1f}-{found.p80_us:.1f})  "
        f"{found.gb_per_s:>8.1f} GB/s  {found.tflop_per_s:>8.2f} TFLOP/s{floor}  error {found.error:.0e}"
    )
    return False


if __name__ == "__main__":
    sys.exit(main())
