"""mamba-ssm's kernels against the plain loop, without a GPU: forward, backward, states, odd lengths, padding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("interpreted_mamba.py")
MISSING = [name for name in ("mamba_ssm", "triton", "einops") if find_spec(name) is None]

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"{', '.join(MISSING)} not installed: docs/backends.md says how, without a CUDA compiler"
)


def test_kernels_agree_with_the_plain_loop() -> None:
    found = subprocess.run(
        [sys.executable, SCRIPT],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    report = json.loads(found.stdout)
    assert report.pop("check") == {
        f"{op} in {precision}": None
        for op in ("ssd_scan", "ema_scan", "causal_conv_silu")
        for precision in ("float32", "bfloat16")
        if (op, precision) != ("ema_scan", "bfloat16")
    }
    # Both get the same inputs, rounded; the loop goes on in float32.
    tolerances = {"float16": 5e-3, "bfloat16": 4e-2}
    assert len(report) == 5
    for case, errors in report.items():
        assert len(errors) == 8
        for name, error in errors.items():
            assert error < tolerances.get(case, 1e-5), f"{case}: {name} differs by {error}"
