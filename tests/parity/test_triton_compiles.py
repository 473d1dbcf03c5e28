"""Our Triton kernels compile for GPUs that this machine does not have, and fit into their memories.

`pytest -s` shows shared memory, registers and what is spilled of each kernel.
"""

from __future__ import annotations

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

if find_spec("triton") is None:
    pytest.skip("triton is not installed", allow_module_level=True)

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from hnet_dna.ops import triton_conv, triton_ema, triton_layers, triton_norm, triton_spread, triton_ssd

# What a block gets on GPUs for desktops; those for servers have more.
SHARED = 99 * 1024
# Bytes that a thread may put into local memory; those of the gradient of the scan are known, see docs/backends.md.
SPILLED = 600
WIDTHS = {"W0": 1024, "W1": 128, "W2": 128}
LENGTHS = {
    "L": "i32",
    "parts": "i32",
    "count": "i32",
    "index": "*i64",
    "M": "i32",
    "rows": "i32",
    "eps": "fp32",
    "length": "*i64",
}
STRIDE = 2320  # of the projections that a Mamba-2 mixer's parts lie in
# Those that are float32 also where activations are bfloat16.
FULL = {
    *("dt", "decay", "state", "last", "grad_dt", "grad_decay"),
    *("z", "p", "grad_out", "grad_last", "grad_z", "of_p", "grad_state"),
    *("skip", "weight", "inverse", "sums", "also"),
    *("a_log", "of_dt", "of_decay"),
    *("ends", "totals", "starts", "grad"),
}  # fmt: skip
# Those whose size does not grow with the batch: of heads and channels.
SMALL = {"decay", "weight", "bias", "skip", "a_log"}


def kernels(capability: int, activations: str) -> list[tuple[Any, dict[str, Any], int]]:
    """Return kernels with their constants and warps, at the sizes of the published models."""
    full = activations == "fp32"
    tile = triton_ssd.largest_tile(torch.float32 if full else torch.bfloat16, capability // 10)
    scan = {"H": 16, "N": 128, "P": 64, "T": tile, "BN": 128, "BP": 64, "PRECISION": "tf32x3" if full else "tf32"}
    conv = {"CHANNELS": 1280, "STRIDE": STRIDE, **WIDTHS, "T": 64, "C": 32 if full else 64}
    gated = {"E": 1024, "P": 64, "GATED": True, "STRIDE": STRIDE, "BLOCK": 1024}
    steps = {"H": 16, "STRIDE": STRIDE, "T": 64, "BH": 16}
    gate = {"F": 1408, "BLOCK": 2048}
    launches: list[tuple[Any, dict[str, Any], int]] = [
        (triton_ssd._carry, {**scan, "BP": 32, "BACK": False, "START": True, "KEEP": True, "SUM": True}, 4),
        (triton_ssd._carry, {**scan, "BP": 32, "BACK": True, "START": True, "KEEP": True, "SUM": True}, 4),
        (triton_ssd._join, {"H": 16, "P": 64, "SIZE": 131072, "BLOCK": 1024, "BACK": True, "START": True}, 4),
        (triton_ssd._tiles, scan, 4),
        (triton_ssd._tiles_back, {**scan, "ADD": True}, 8 if full else 4),
        (triton_conv._conv, {**conv, "PAST": True}, 4),
        (triton_conv._conv_back, {**conv, "PAST": True, "AT": 1024}, 8),
        (triton_norm._norm, gated, 4),
        (triton_norm._norm_back, {**gated, "AT": 0, "ADD": True, "AGAIN": True}, 4),
        (triton_layers._steps, steps, 4),
        (triton_layers._steps_back, {**steps, "T": tile, "AT": 2304}, 4),
        (triton_layers._swiglu, gate, 8),
        (triton_layers._swiglu_back, gate, 8),
    ]
    if full:
        average = {"D": 512, "T": triton_ema._TILE, "C": triton_ema._CHANNELS}
        launches += [(triton_spread._sum, {"D": 512, "BLOCK": 512}, 4)]
        launches += [(triton_ema._average, average, 4), (triton_ema._average_back, average, 4)]
    return launches


@pytest.mark.parametrize(
    ("capability", "activations"), [(80, "bf16"), (90, "bf16"), (90, "fp32"), (100, "bf16"), (120, "bf16")]
)
def test_kernels_compile(capability: int, activations: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    print(f"\n{'compute capability ' + str(capability / 10) + ', ' + activations:<32}shared  registers  spilled")
    for kernel, constants, warps in kernels(capability, activations):
        signature = {
            name: "constexpr"
            if name in constants
            else LENGTHS.get(name, "*fp32" if name in FULL else f"*{activations}")
            for name in kernel.arg_names
        }
        aligned = {(i,): [["tt.divisibility", 16]] for i, kind in enumerate(signature.values()) if kind[0] == "*"}
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=aligned)
        compiled = compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps})
        registers, spilled = resources(compiled.asm["cubin"], tmp_path / "kernel.cubin")
        name = kernel.fn.__name__ + (" of the gradient" if constants.get("BACK") else "")
        print(f"{name:<32}{compiled.metadata.shared:6}{registers:11}{spilled:9}")
        assert compiled.metadata.shared <= SHARED, kernel.arg_names
        assert spilled <= SPILLED, kernel.arg_names
        assert narrow_offsets(compiled.asm["ttir"]) <= SMALL, kernel.arg_names


def resources(code: bytes, path: Path) -> tuple[int, int]:
    """Return the registers of a thread, and the bytes of its local memory, where it puts what they do not hold."""
    path.write_bytes(code)
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    told = subprocess.run([tool, "--dump-resource-usage", path], capture_output=True, text=True, check=True).stdout
    found = {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", told)}
    return found["REG"], found["STACK"] + found["LOCAL"]


def narrow_offsets(code: str) -> set[str]:
    """Return the arguments that any offset of 32 bits is added to, which ends at 2 G elements."""
    base, narrow = {}, set()
    for line in code.splitlines():
        if splat := re.match(r"\s*(%\w+) = tt\.splat (%\w+) : !tt\.ptr", line):
            base[splat[1]] = splat[2]
        elif added := re.match(r"\s*%\w+ = tt\.addptr (%\w+), .*\bi32\b|\s*%\w+ = tt\.addptr (%\w+), .*xi32>", line):
            pointer = added[1] or added[2]
            narrow.add(base.get(pointer, pointer).removeprefix("%"))
    arguments = set(re.findall(r"%(\w+): !tt\.ptr", code))
    return narrow & arguments


def test_narrow_offsets_are_found() -> None:
    code = """tt.func @k(%x: !tt.ptr<f32>, %y: !tt.ptr<f32>, %sums: !tt.ptr<f32>)
        %1 = tt.splat %sums : !tt.ptr<f32> -> tensor<32x!tt.ptr<f32>> loc(#1)
        %2 = tt.addptr %1, %9 : tensor<32x!tt.ptr<f32>>, tensor<32xi32> loc(#1)
        %3 = tt.addptr %x, %9 : !tt.ptr<f32>, i32 loc(#1)
        %4 = tt.addptr %y, %9 : !tt.ptr<f32>, i64 loc(#1)"""
    assert narrow_offsets(code) == {"x", "sums"}
