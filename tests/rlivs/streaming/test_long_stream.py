"""Two hours of video leave no more in memory than its first ten minutes did."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "pipeline" / "long_stream.py"


@pytest.mark.slow
def test_resident_memory_is_flat(tmp_path):
    out = tmp_path / "memory.csv"
    # Sampled sparsely, so that the suite stays short; the script's default is the paper's rate.
    subprocess.run([sys.executable, str(SCRIPT), "--fps", "0.1", "--out", str(out)], check=True, capture_output=True)
    with out.open() as file:
        rows = [(float(row["video_seconds"]), float(row["resident_mib"])) for row in csv.DictReader(file)]
    assert rows[-1][0] == pytest.approx(7200, abs=1)
    early = next(rss for seconds, rss in rows if seconds >= 600)
    assert abs(rows[-1][1] - early) <= 0.1 * early
