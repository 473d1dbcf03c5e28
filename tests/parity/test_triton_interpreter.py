"""Triton kernels, ours and mamba-ssm's, against the plain loops, without a GPU: states, odd lengths, padding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("interpreted_kernels.py")
NEEDED = {"triton": ("triton",), "mamba": ("triton", "mamba_ssm", "einops")}
# Both get the same inputs, rounded; the loop goes on in float32.
TOLERANCES = {"float16": 5e-3, "bfloat16": 4e-2, "tiles of 64": 5e-3}


@pytest.mark.parametrize("name", list(NEEDED))
def test_kernels_agree_with_the_plain_loops(name: str) -> None:
    cases = report(name, "cases")
    assert len(cases) >= 5
    for case, errors in cases.items():
        for result, error in errors.items():
            tolerance = TOLERANCES.get(case.partition(": ")[2], 1e-5)
            assert error < tolerance, f"{case}: {result} differs by {error}"


@pytest.mark.parametrize("name", list(NEEDED))
def test_the_check_of_kernels_finds_them_right(name: str) -> None:
    checks = report(name, "check")
    assert len(checks) == {"triton": 13, "mamba": 11}[name]
    assert {op: trouble for op, trouble in checks.items() if trouble} == {}


def report(name: str, part: str) -> Any:
    if missing := [package for package in NEEDED[name] if find_spec(package) is None]:
        pytest.skip(f"{', '.join(missing)} not installed: docs/backends.md says how, without a CUDA compiler")
    done = subprocess.run(
        [sys.executable, SCRIPT, name, part],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
