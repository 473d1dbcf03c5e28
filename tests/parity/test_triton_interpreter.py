"""Triton kernels, ours and mamba-ssm's, against the plain loops, without a GPU: states, odd lengths, padding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("interpreted_kernels.py")
NEEDED = {"triton": ("triton",), "mamba": ("triton", "mamba_ssm", "einops")}
# Both get the same inputs, rounded; the loop goes on in float32.
TOLERANCES = {"float16": 5e-3, "bfloat16": 4e-2, "tiles of 64": 5e-3}


@pytest.mark.parametrize("name", list(NEEDED))
def test_kernels_agree_with_the_plain_loops(name: str) -> None:
    if missing := [package for package in NEEDED[name] if find_spec(package) is None]:
        pytest.skip(f"{', '.join(missing)} not installed: docs/backends.md says how, without a CUDA compiler")
    process = subprocess.run(
        [sys.executable, SCRIPT, name],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    report = json.loads(process.stdout)
    assert len(report["check"]) == {"triton": 13, "mamba": 11}[name]
    assert {op: trouble for op, trouble in report["check"].items() if trouble} == {}
    assert len(report["cases"]) >= 5
    for case, errors in report["cases"].items():
        for result, error in errors.items():
            tolerance = TOLERANCES.get(case.partition(": ")[2], 1e-5)
            assert error < tolerance, f"{case}: {result} differs by {error}"
