"""Benchmarks that need another machine run here in small, so that they work when that machine is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from hnet_dna.ops.check import OPS

FOLDER = Path(__file__).parents[2] / "benchmarks"


def printed_by(script: str, *options: str) -> str:
    process = subprocess.run(
        [sys.executable, FOLDER / script, "--device", "cpu", *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_the_acceptance_of_a_gpu_on_a_cpu(tmp_path: Path) -> None:
    """A few of its steps; `.ci/run` takes all."""
    steps = ["peak", "hnet"]
    printed_by("gpu_acceptance.py", str(tmp_path), "--quick", "--only", *steps)
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    by_step = {result["step"]: result for result in map(json.loads, lines)}
    assert list(by_step) == steps
    assert by_step["hnet"]["bases_per_second"] > 0
    assert 1 < by_step["hnet"]["positions_per_chunk"][0] < 10


def test_the_acceptance_says_what_failed(tmp_path: Path) -> None:
    script = FOLDER / "gpu_acceptance.py"
    command = [sys.executable, str(script), str(tmp_path), "--device", "cpu", "--quick", "--only", "generate"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert "failed: generate" in process.stdout
    assert "there is no trained model" in json.loads((tmp_path / "results.jsonl").read_text())["error"]


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
