"""Times other tiles of the Triton kernels than the chosen ones: `python -m benchmarks.kernels.tune`.

One table of tiles at a time is varied, the others stay as they are; each result is checked before it is timed. The
fastest are printed and all go to a CSV, from which the tables in rlivs_kernels/ops/*/triton.py can be set. Compiling
takes longest, so that many processes do it first. Needs a CUDA device.
"""

import argparse
import csv
import itertools
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch

from benchmarks.kernels import column_sum_providers, decode_providers, timing
from benchmarks.kernels.checks import Checker
from benchmarks.kernels.floors import peaks_of, work
from benchmarks.kernels.run import environment
from benchmarks.kernels.shapes import Case, cases
from rlivs_kernels.ops.column_sums import triton as column_sums
from rlivs_kernels.ops.decode_attention import triton as decode_attention
from rlivs_kernels.triton_launch import Tiles, chip_of

TABLES = {
    "columns": column_sums.COLUMN_TILES,
    "normalisers": column_sums.NORMALISER_TILES,
    "decode": decode_attention.SPLIT_TILES,
}
REGISTERS = 65536  # of a multiprocessor
LEAST_REGISTERS = 128  # a thread: with fewer the kernels spill
ACCUMULATORS = 128  # of a product, a thread: with more there is no room for anything else
SHOWN = 5
RESULTS = Path(__file__).resolve().parents[1] / "results" / "tiles.csv"


@dataclass(frozen=True)
class Row:
    """One line of the CSV, before device, versions and commit; times of a CUDA graph's replay in microseconds."""

    table: str
    model: str
    batch: int
    dtype: str
    rows: int
    keys: int
    warps: int
    stages: int
    resident: int
    registers: int | None
    chosen: bool
    p20_us: float
    p50_us: float
    p80_us: float
    fraction_of_floor: float | None
    error: float


def candidates(table: str, chosen: Tiles) -> list[Tiles]:
    """The chosen tiles, and others of 16-bit kernels worth a try."""
    if table == "decode":
        sizes = itertools.product([16], (32, 64, 128), (4, 8), (2, 3, 4, 5), (1, 2, 4))
    else:
        shapes = ((32, 64, 128), (128, 256)) if table == "columns" else ((64, 128, 256), (64, 128))
        sizes = itertools.product(*shapes, (4, 8), (2, 3), (1, 2, 3, 4))
    found = [chosen]
    for rows, keys, warps, stages, resident in sizes:
        # Registers are capped where so many programs would not fit a multiprocessor otherwise.
        room = REGISTERS // (32 * warps * resident) // 8 * 8
        tiles = Tiles(rows, keys, warps, stages, resident, None if room >= 248 or table == "decode" else room)
        held = rows * keys // (32 * warps)
        if (table == "decode" or room >= LEAST_REGISTERS) and held <= ACCUMULATORS and tiles not in found:
            found.append(tiles)
    return found


def call_of(table: str, case: Case, data: column_sum_providers.Inputs) -> column_sum_providers.Call:
    """What is timed: pass B alone, both passes, or a step that scores."""
    if table == "decode":
        return decode_providers.ours("triton", True, case, data)
    build = column_sum_providers.ours_given_lse if table == "columns" else column_sum_providers.ours
    return build("triton", case, data)


def key_of(case: Case) -> tuple[bool, int, int]:
    """Where a case's tiles are in its table."""
    return chip_of(torch.device("cuda")).large, 2, max(64, case.model.head_dim)


@contextmanager
def using(table: str, key: tuple[bool, int, int], tiles: Tiles) -> Iterator[None]:
    before = TABLES[table][key]
    TABLES[table][key] = tiles
    try:
        yield
    finally:
        TABLES[table][key] = before


def compile_once(table: str, case: Case, tiles: Tiles) -> None:
    """In a process of its own: Triton keeps what it compiled on disk for the others."""
    with using(table, key_of(case), tiles):
        try:
            call_of(table, case, column_sum_providers.inputs(case, "cuda"))()
        except Exception:  # it will be told where it is timed
            return


def measure(table: str, case: Case, seconds: float) -> Iterator[Row | str]:
    data = column_sum_providers.inputs(case, "cuda")
    checker, key = Checker(case, data), key_of(case)
    chosen, peaks = TABLES[table][key], peaks_of(torch.cuda.get_device_name())
    call = call_of(table, case, data)
    for tiles in candidates(table, chosen):
        if table == "decode":  # its sums grow: what is checked begins anew
            call = call_of(table, case, data)
        with using(table, key, tiles):
            try:
                result = call()
                error, wrong = checker.error(result), checker.wrong("ours", result)
                replay = timing.captured(call)
                if wrong is not None:
                    yield f"wrong: {tiles}: {wrong}"
                    continue
                if replay is None:
                    yield f"not captured: {tiles}"
                    continue
                times = timing.time_on_gpu(replay, seconds)
            except Exception as failure:  # too much shared memory, most often
                yield f"failed: {tiles}: {(str(failure).splitlines() or [type(failure).__name__])[0]}"
                continue
        floor = None if peaks is None else 1e6 * work(case, given_lse=table == "columns").seconds(peaks)
        yield Row(
            table=table,
            model=case.model.name,
            batch=case.batch,
            dtype=case.dtype,
            **asdict(tiles),
            chosen=tiles == chosen,
            p20_us=round(times.p20, 2),
            p50_us=round(times.p50, 2),
            p80_us=round(times.p80, 2),
            fraction_of_floor=None if floor is None else round(floor / times.p50, 3),
            error=float(f"{error:.2e}"),
        )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", nargs="+", default=list(TABLES), choices=TABLES, help="default all")
    parser.add_argument("--processes", type=int, default=8, help="that compile side by side")
    parser.add_argument("--seconds", type=float, default=0.1, help="of repeats for each tile")
    parser.add_argument("--out", type=Path, default=RESULTS, help="CSV of all that was timed")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("no CUDA device: tiles can be compared on a GPU only", file=sys.stderr)
        return 2

    wanted = [
        (table, case)
        for table in options.table
        for case in cases("decode_attention" if table == "decode" else "column_sums", quick=True)
    ]
    jobs = [(t, c, tiles) for t, c in wanted if c.batch == 1 for tiles in candidates(t, TABLES[t][key_of(c)])]
    print(f"compiling {len(jobs)} kernels")
    with ProcessPoolExecutor(options.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            list(pool.map(compile_once, *zip(*jobs, strict=True)))
        except BrokenProcessPool:
            print("a compiling process died; what it left is compiled where it is timed", file=sys.stderr)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    wrong, report = False, environment()
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)] + list(report))
        writer.writeheader()
        for table, case in wanted:
            print(f"\n{table}: {case.model.name}, batch {case.batch}")
            rows = []
            for found in measure(table, case, options.seconds):
                if isinstance(found, str):
                    print(f"  {found}")
                    wrong |= found.startswith("wrong")
                    continue
                rows.append(found)
                writer.writerow({**asdict(found), **report})
                file.flush()
            show(rows)
            torch.cuda.empty_cache()
    print(f"\n{options.out}")
    return 1 if wrong else 0


def show(rows: list[Row]) -> None:
    """The fastest, and the chosen ones' place among them."""
    ordered = sorted(rows, key=lambda row: row.p50_us)
    for place, row in enumerate(ordered, 1):
        if place <= SHOWN or row.chosen:
            print(
                f"  {place:>3}. {row.p50_us:>8.1f} us  {row.rows} rows x {row.keys} keys, {row.warps} warps, "
                f"{row.stages} stages, {row.resident} resident, registers {row.registers}"
                f"{'  <- chosen' if row.chosen else ''}"
            )


if __name__ == "__main__":
    sys.exit(main())
