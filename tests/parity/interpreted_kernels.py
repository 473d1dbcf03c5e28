"""Runs Triton kernels on a CPU, under Triton's interpreter, and compares them with the plain loops.

    python tests/parity/interpreted_kernels.py triton cases    # ours; or mamba, for mamba-ssm's scan
    python tests/parity/interpreted_kernels.py triton check    # the check that `hnet-dna doctor` makes

A script of its own, because triton reads TRITON_INTERPRET when it is imported. Prints the errors as JSON. What it
replaces are the places where mamba-ssm asks for a GPU, and the interpreter's products of bfloat16. It keeps bfloat16 as
uint16 bits, decodes them only in casts, and multiplies the bits as whole numbers elsewhere. A GPU multiplies the
values and adds in float32, and so do these.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

os.environ["TRITON_INTERPRET"] = "1"
sys.path.append(str(Path(__file__).parents[1]))  # helpers

import torch
import torch.nn.functional as F
import triton
from helpers import small_config
from torch import Tensor
from triton.runtime import interpreter

from hnet_dna.model.lm import HNetLM
from hnet_dna.ops import MambaPast, MambaWeights, MlpWeights, serve, triton_norm, triton_ssd, use_backend
from hnet_dna.ops.backend import BACKENDS, Backend
from hnet_dna.ops.check import check_backend
from hnet_dna.ops.layers import mamba_layer_reference, mlp_layer_reference

REFERENCE = BACKENDS["reference"]
SSD = ("x", "dt", "decay", "b", "c", "state")
EMA = ("z", "p", "state")
CONV = ("past", "x", "weight", "bias")
NORM = ("x", "weight")
GATED = ("y", "x", "skip", "gate", "weight")


def stand_in_for_a_gpu() -> None:
    torch.cuda.device = lambda index: nullcontext()  # type: ignore
    torch.cuda.get_device_properties = lambda device=None: SimpleNamespace(multi_processor_count=1)  # type: ignore
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


def ssd(
    backend: Backend, length: int, padding: int, tile: int, dtype: torch.dtype = torch.float32,
    heads: int = 2, width: int = 16, n: int = 16, fastest: float = 1.0,
) -> dict[str, float]:  # fmt: skip
    torch.manual_seed(length)
    batch = 2
    dt = F.softplus(torch.randn(batch, length, heads) - 1)
    dt[:, length - padding :] = 0
    inputs = [
        torch.randn(batch, length, heads, width).to(dtype),
        dt,
        -torch.linspace(0.3, fastest, heads),
        torch.randn(batch, length, n).to(dtype),
        torch.randn(batch, length, n).to(dtype),
        torch.randn(batch, n, heads, width),
    ]
    return compare(backend, "ssd_scan", inputs, (tile,), SSD)


def ssd_in_parts() -> dict[str, float]:
    """Walk the tiles of a sequence in parts, as a GPU with idle processors does where it is long."""
    with (
        patch.object(triton_ssd, "_LONG", 4), patch.object(triton_ssd, "_FEWEST", 1),
        patch.object(triton_ssd, "processors", lambda device: 16),
    ):  # fmt: skip
        x, b = torch.empty(2, 96, 2, 16), torch.empty(2, 96, 16)
        assert triton_ssd._parts(x, b, 16) == 4  # of two tiles, the last one empty
        return ssd(BACKENDS["triton"], length=96, padding=9, tile=16)


def ema(backend: Backend, length: int, padding: int, low: float, high: float, width: int = 6) -> dict[str, float]:
    torch.manual_seed(length)
    p = torch.empty(2, length).uniform_(low, high)
    p[:, length - padding :] = 0
    inputs = [torch.randn(2, length, width), p, torch.randn(2, width)]
    return compare(backend, "ema_scan", inputs, (), EMA)


def conv(backend: Backend, length: int, widths: list[int], dtype: torch.dtype = torch.float32) -> dict[str, float]:
    torch.manual_seed(length)
    channels = sum(widths)
    shapes = ((2, 3, channels), (2, length, channels), (channels, 4), (channels,))
    inputs = [torch.randn(shape).to(dtype) for shape in shapes]
    return compare(backend, "causal_conv_silu", inputs, (widths,), CONV)


def norm(backend: Backend, rows: int, width: int, dtype: torch.dtype = torch.float32) -> dict[str, float]:
    torch.manual_seed(rows)
    inputs = [3 * torch.randn(2, rows, width).to(dtype), torch.randn(width)]
    return compare(backend, "rms_norm", inputs, (torch.float32,), NORM)


def gated(backend: Backend, rows: int, heads: int, width: int, low: torch.dtype = torch.float32) -> dict[str, float]:
    torch.manual_seed(rows)
    y, x = torch.randn(2, 2, rows, heads, width).to(low).unbind(0)
    gate, weight = torch.randn(2, rows, heads * width).to(low), torch.randn(heads * width)
    return compare(backend, "gated_rms_norm", [y, x, torch.randn(heads), gate, weight], (torch.float32,), GATED)


def norms_of_many_rows() -> dict[str, float]:
    """Give each program of a backward pass several rows, and the first ones a row more."""
    with patch.object(triton_norm, "_PROGRAMS", 16):
        backend = BACKENDS["triton"]
        plain, gated_by = norm(backend, rows=21, width=8), gated(backend, rows=21, heads=2, width=4)
    return {f"norm, {k}": v for k, v in plain.items()} | {f"gated norm, {k}": v for k, v in gated_by.items()}


def mamba_layer(length: int, padding: int, width: int, heads: int, n: int, tile: int) -> dict[str, float]:
    torch.manual_seed(length)
    inner = 2 * width
    channels = inner + 2 * n
    weights = MambaWeights(
        torch.rand(width), torch.randn(inner + channels + heads, width) / width**0.5, torch.randn(channels, 4) / 2,
        torch.randn(channels), torch.randn(heads) - 1, torch.rand(heads), torch.randn(heads), torch.rand(inner),
        torch.randn(width, inner) / inner**0.5,
    )  # fmt: skip
    past = (torch.randn(2, 3, channels), torch.randn(2, n, heads, inner // heads))
    lengths = torch.tensor([[length - padding, 0], [length, 0]])[:, 0]  # apart in memory

    def call(layer: Any, residual: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        made = MambaWeights(*weights)
        out: Tensor = layer(residual, made, lengths, None, tile, torch.float32)[0]
        with torch.no_grad():
            later = layer(residual, made, lengths, MambaPast(*past), tile, torch.float32)
        return (out, *later)

    return compare_layers("mamba_layer", mamba_layer_reference, call, [torch.randn(2, length, width), *weights])


def mlp_layer(length: int, width: int, hidden: int) -> dict[str, float]:
    torch.manual_seed(length)
    weights = (torch.rand(width), torch.randn(2 * hidden, width) / 4, torch.randn(width, hidden) / 4)
    return compare_layers(
        "mlp_layer",
        mlp_layer_reference,
        lambda layer, residual, *weights: (layer(residual, MlpWeights(*weights), torch.float32),),
        [torch.randn(2, length, width), *weights],
    )


def compare_layers(op: str, plain: Any, call: Any, inputs: list[Tensor]) -> dict[str, float]:
    results = []
    for layer in (getattr(BACKENDS["triton"], op), plain):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        outputs = call(layer, *leaves)
        weight = torch.cos(torch.arange(outputs[0].numel())).view(outputs[0].shape)
        results.append([*outputs, *torch.autograd.grad((outputs[0] * weight).sum(), leaves)])
    assert all(f.shape == e.shape for f, e in zip(*results, strict=True))
    return {f"result {index}": relative(f, e) for index, (f, e) in enumerate(zip(*results, strict=True))}


def model() -> dict[str, float]:
    """Compare loss and gradients of a model, rows of two lengths, with those of the parts in PyTorch."""
    config = small_config(
        arch_layout=["m1", ["M1"], "m1"], d_model=[16, 24], d_intermediate=[0, 32], attn_cfg={"num_heads": 2},
        ssm_cfg={"d_state": 16, "head_dim": 16, "chunk_size": 16}, chunk_cfg={"routing": "fixed", "stride": 2},
    )  # fmt: skip
    torch.manual_seed(0)
    network, ids, lengths = HNetLM(config), torch.randint(0, 4, (2, 20)), torch.tensor([20, 13])
    results = []
    for name in ("triton", "torch"):
        network.zero_grad(set_to_none=True)
        serve._choices["triton", "cpu"] = serve.Choice(BACKENDS["triton"], "interpreted")
        with use_backend(name):
            logits = network(ids, lengths=lengths, last=True).logits
            (logits[0].square().sum() + logits[1, :13].square().sum()).backward()
            with torch.no_grad():
                state, parts = None, []
                for piece in torch.split(ids, [1, 12, 7], dim=1):
                    output = network(piece, state)
                    state = output.state
                    parts.append(output.logits)
        results.append(
            [
                logits[0],
                logits[1, :13],
                torch.cat(parts, 1),
                *(torch.zeros_like(p) if p.grad is None else p.grad for p in network.parameters()),
            ]
        )
    return {f"result {index}": relative(f, e) for index, (f, e) in enumerate(zip(*results, strict=True)) if e.any()}


def compare(
    backend: Backend, op: str, inputs: list[Tensor], rest: tuple[object, ...], names: tuple[str, ...]
) -> dict[str, float]:
    """Return the largest error of each output and gradient, relative to the largest value."""
    results: list[list[Tensor]] = []
    weights: list[Tensor] = []
    for served in (backend, REFERENCE):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        call: Callable[..., Any] = getattr(served, op)
        actual = call(*leaves, *rest)
        outputs = [actual] if isinstance(actual, Tensor) else list(actual)
        weights = weights or [torch.randn(output.shape) for output in outputs]
        total = torch.stack([(o.float() * w).sum() for o, w in zip(outputs, weights, strict=True)]).sum()
        results.append([*outputs, *torch.autograd.grad(total, leaves)])
    assert all(f.shape == e.shape for f, e in zip(*results, strict=True))
    labels = [f"output {index}" for index in range(len(weights))] + [f"gradient of {name}" for name in names]
    return {label: relative(f, e) for label, f, e in zip(labels, *results, strict=True)}


def relative(actual: Tensor, expected: Tensor) -> float:
    actual, expected = actual.detach().double(), expected.detach().double()
    return float((actual - expected).abs().max() / expected.abs().max())


def cases(name: str) -> dict[str, dict[str, float]]:
    backend = BACKENDS[name]
    every_case = {
        "ssd: one tile": ssd(backend, length=77, padding=0, tile=128),
        "ssd: odd tiles and padding": ssd(backend, length=77, padding=9, tile=30),
        "ssd: one position": ssd(backend, length=1, padding=0, tile=64),
        "ssd: float16": ssd(backend, length=37, padding=5, tile=32, dtype=torch.float16),
        "ssd: bfloat16": ssd(backend, length=37, padding=5, tile=32, dtype=torch.bfloat16),
    }
    if name == "mamba":  # the rest of its ops are those of triton
        return every_case
    return every_case | {
        "ssd: odd widths": ssd(backend, length=50, padding=3, tile=16, heads=3, width=40, n=12),
        "ssd: tiles of 64": ssd(backend, length=150, padding=0, tile=64, dtype=torch.float16),
        "ssd: a head that forgets at once": ssd(backend, length=40, padding=0, tile=16, fastest=900.0),
        "ssd: in parts": ssd_in_parts(),
        "ema: odd tiles and padding": ema(backend, length=77, padding=9, low=1e-4, high=1 - 1e-4),
        "ema: towards 0": ema(backend, length=65, padding=0, low=1e-4, high=1e-3, width=40),
        "ema: towards 1": ema(backend, length=64, padding=0, low=1 - 1e-3, high=1 - 1e-4),
        "ema: one chunk": ema(backend, length=1, padding=0, low=0.2, high=0.8),
        "conv: odd length": conv(backend, 77, [32, 16, 16]),
        "conv: two blocks and a border": conv(backend, 126, [8, 4, 4]),
        "conv: one position": conv(backend, 1, [16, 16, 16]),
        "conv: two positions": conv(backend, 2, [48, 16, 16]),
        "conv: odd widths": conv(backend, 5, [6, 1, 3]),
        "conv: bfloat16": conv(backend, 9, [32, 16, 16], torch.bfloat16),
        "norm": norm(backend, rows=5, width=48),
        "norm: bfloat16": norm(backend, rows=3, width=33, dtype=torch.bfloat16),
        "gated norm": gated(backend, rows=5, heads=3, width=16),
        "gated norm: odd width": gated(backend, rows=1, heads=2, width=5),
        "gated norm: bfloat16": gated(backend, rows=4, heads=2, width=32, low=torch.bfloat16),
        "norms: many rows": norms_of_many_rows(),
        "mamba layer: odd length and padding": mamba_layer(19, padding=6, width=16, heads=2, n=16, tile=16),
        "mamba layer: odd widths": mamba_layer(5, padding=0, width=10, heads=5, n=6, tile=16),
        "mlp layer: odd sizes": mlp_layer(7, width=9, hidden=13),
        "model: rows of two lengths, and pieces": model(),
    }


def main(name: str, part: str) -> None:
    stand_in_for_a_gpu()
    torch.set_num_threads(1)
    if part == "cases":
        print(json.dumps(cases(name)))
    else:
        checks = check_backend(BACKENDS[name], "cpu")
        print(json.dumps({f"{check.op} in {check.precision}": check.trouble for check in checks}))


if __name__ == "__main__":
    main(*sys.argv[1:])
