"""Benchmarks that need another machine run here in small, so that they work when that machine is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hnet_dna.ops.check import OPS

FOLDER = Path(__file__).parents[2] / "benchmarks"


def printed_by(script: str, *options: str) -> str:
    found = subprocess.run(
        [sys.executable, FOLDER / script, "--device", "cpu", *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_the_gpu_table_on_a_cpu() -> None:
    table = printed_by("gpu.py", "--quick")
    rows = [line.split() for line in table.splitlines()]
    measured = {(row[0], row[1]): row[2:] for row in rows if row[0].startswith("tiny") and "serve:" not in row}
    assert set(measured) == {("tiny-mamba2", "torch"), ("tiny", "torch"), ("tiny", "reference")}
    for chunks, *speeds, share, _, _ in measured.values():
        assert 0 < float(chunks) <= 1
        assert all(float(speed.replace(",", "")) > 0 for speed in speeds)
        assert float(share.rstrip("%")) > 0  # of a rate that one small product had, while other tests ran
    for backend in ("triton", "mamba"):
        assert f"tiny              {backend:<11} does not serve: " in table


def test_the_table_of_kernels_on_a_cpu() -> None:
    table = printed_by("kernels.py", "--quick")
    served = {line.split()[0] for line in table.splitlines() if " torch " in line and "serve" not in line}
    assert served == {"CPU", *OPS}
    problems = len(table.splitlines()[2:]) // 3
    for backend in ("triton", "mamba"):  # for want of a GPU, or of the package
        assert table.count(f" {backend:<8} does not serve: ") == problems


def test_the_breakdown_of_a_step_and_of_segment() -> None:
    table = printed_by("breakdown.py", "--threads", "1", "--settle", "1", "--rows", "3")
    titles = [line for line in table.splitlines() if not line.startswith(" ")]
    assert len(titles) == 2
    assert len(table.splitlines()) == 8
    assert "segment" in titles[1]


def test_the_table_of_tracks() -> None:
    command = [sys.executable, str(FOLDER / "tracks.py"), "--bases", "50000", "--contigs", "4", "--model-bases", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "merged.c.bb: the bytes of c.bb" in done.stdout
    assert "merged.c.bw: the bytes of c.bw" in done.stdout
