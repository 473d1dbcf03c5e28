"""Runs mamba-ssm's Triton kernels on a CPU, under Triton's interpreter, and compares them with the plain loop.

A script of its own, because triton reads TRITON_INTERPRET when it is imported. Prints the errors as JSON. What it
replaces are the places where mamba-ssm asks for a GPU; autotuning, which would time each of its block sizes; and the
interpreter's products of bfloat16. It keeps bfloat16 as uint16 bits, decodes them in casts alone, and multiplies the
bits as whole numbers elsewhere. A GPU multiplies the values and adds in float32, and so do these.
"""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"

import torch
import torch.nn.functional as F
import triton
from torch import Tensor
from triton.runtime import interpreter

from hnet_dna.ops.backend import BACKENDS, SsdScan
from hnet_dna.ops.check import check_backend
from hnet_dna.ops.ssd import ssd_scan_reference

NAMES = ("x", "dt", "decay", "b", "c", "state")


def stand_in_for_a_gpu() -> None:
    torch.cuda.device = lambda index: nullcontext()  # type: ignore
    torch.cuda.get_device_properties = lambda device=None: SimpleNamespace(multi_processor_count=1)  # type: ignore
    autotune = triton.autotune

    def one_configuration(configs: list[Any], *args: Any, **kwargs: Any) -> Any:
        return autotune(configs[-1:], *args, **kwargs)

    triton.autotune = one_configuration
    multiply_bfloat16_by_value()


def multiply_bfloat16_by_value() -> None:
    builder, language = interpreter.InterpreterBuilder, triton.language
    dot, binary_op = builder.create_dot, builder.binary_op

    def value(self: Any, handle: Any) -> Any:
        return self.cast_impl(handle, language.float32) if handle.dtype.scalar == language.bfloat16 else handle

    def dot_of_values(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        return dot(self, value(self, a), value(self, b), *rest)

    def op_of_values(self: Any, a: Any, b: Any, op: Any) -> Any:
        if a.dtype.scalar != language.bfloat16:
            return binary_op(self, a, b, op)
        return self.cast_impl(binary_op(self, value(self, a), value(self, b), op), language.bfloat16)

    builder.create_dot, builder.binary_op = dot_of_values, op_of_values


def compare(length: int, padding: int, tile: int, dtype: torch.dtype) -> dict[str, float]:
    """Return the largest error of y, the final state, and each gradient, relative to the largest value."""
    torch.manual_seed(length)
    batch, heads, width, n = 2, 2, 16, 16
    dt = F.softplus(torch.randn(batch, length, heads) - 1)
    dt[:, length - padding :] = 0
    inputs = [
        torch.randn(batch, length, heads, width).to(dtype),
        dt,
        -torch.rand(heads) - 0.1,
        torch.randn(batch, length, n).to(dtype),
        torch.randn(batch, length, n).to(dtype),
        torch.randn(batch, n, heads, width),
    ]
    weights = [torch.randn(batch, length, heads, width), torch.randn(batch, n, heads, width)]
    results = []
    scans: list[SsdScan] = [BACKENDS["mamba"].ssd_scan, ssd_scan_reference]
    for scan in scans:
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        x, dt, decay, b, c, state = leaves
        y, last = scan(x, dt, decay, b, c, state, tile)
        assert y.dtype == last.dtype == torch.float32
        loss = (y * weights[0]).sum() + (last * weights[1]).sum()
        results.append([y, last, *torch.autograd.grad(loss, leaves)])
    assert all(found.shape == wanted.shape for found, wanted in zip(*results, strict=True))
    names = ("y", "last", *(f"gradient of {name}" for name in NAMES))
    return {name: relative(f, e) for name, f, e in zip(names, *results, strict=True)}


def relative(found: Tensor, expected: Tensor) -> float:
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).abs().max() / expected.abs().max())


if __name__ == "__main__":
    stand_in_for_a_gpu()
    torch.set_num_threads(1)
    report = {
        "one tile": compare(length=77, padding=0, tile=128, dtype=torch.float32),
        "odd tiles and padding": compare(length=77, padding=9, tile=30, dtype=torch.float32),
        "one position": compare(length=1, padding=0, tile=64, dtype=torch.float32),
        "float16": compare(length=37, padding=5, tile=32, dtype=torch.float16),
        "bfloat16": compare(length=37, padding=5, tile=32, dtype=torch.bfloat16),
        "check": {
            f"{check.op} in {check.precision}": check.trouble for check in check_backend(BACKENDS["mamba"], "cpu")
        },
    }
    print(json.dumps(report))
