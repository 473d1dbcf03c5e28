"""What our kernels cannot take is said once, and computed all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

SCRIPT = """
import json, warnings
import torch
from hnet_dna.ops.triton_conv import causal_conv_silu_triton
from hnet_dna.ops.triton_norm import rms_norm_triton
from hnet_dna.ops.triton_ssd import ssd_scan_triton
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        x, b = torch.randn(1, 4, 1, 128), torch.randn(1, 4, 128)
        ssd_scan_triton(x, torch.rand(1, 4, 1), -torch.rand(1), b, b, torch.zeros(1, 128, 1, 128), 16)
        past, x, weight = torch.randn(1, 2, 3), torch.randn(1, 4, 3), torch.randn(3, 3)
        causal_conv_silu_triton(past, x, weight, torch.zeros(3), [1, 1, 1])
        rms_norm_triton(torch.randn(2, 8200), torch.ones(8200), torch.float32)
print(json.dumps([str(warning.message) for warning in caught]))
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
def test_fallbacks_are_told_once() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    scan, conv, norm = json.loads(process.stdout)
    assert "d_state x head_dim up to 8,192; a scan with d_state 128 and head_dim 128 runs as PyTorch" in scan
    assert "d_conv 4; a convolution with d_conv 3" in conv
    assert "up to 8,192 channels; a norm of 8,200 channels" in norm
