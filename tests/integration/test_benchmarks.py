"""Benchmarks that need another machine run here in small, so that they work when that machine is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def test_the_gpu_table_on_a_cpu() -> None:
    found = subprocess.run(
        [sys.executable, SCRIPT, "--device", "cpu", "--quick"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    rows = [line.split() for line in found.stdout.splitlines()]
    measured = {(row[0], row[1]): row[2:] for row in rows if row[0].startswith("tiny") and "serve:" not in row}
    assert set(measured) == {("tiny-mamba2", "torch"), ("tiny", "torch"), ("tiny", "reference")}
    for chunks, *speeds, share, _, _ in measured.values():
        assert 0 < float(chunks) <= 1
        assert all(float(speed.replace(",", "")) > 0 for speed in speeds)
        assert float(share.rstrip("%")) > 0  # of a rate that one small product had, while other tests ran
    for backend in ("triton", "mamba"):
        assert f"tiny              {backend:<11} does not serve: " in found.stdout
