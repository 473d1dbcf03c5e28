"""Times each op by each backend that serves a GPU, forward and with its backward pass, at a published model's sizes.

    python benchmarks/kernels.py                       # on a machine with an NVIDIA GPU
    python benchmarks/kernels.py --device cpu --quick  # a few seconds, to see that it runs; figures mean nothing

Sizes are those of m3t1-m15-m4 (width 512, inner width 1,024, 16 heads, state 128): 16 windows of 8,192 bases, and of a
third as many chunks. `host` is what the processor takes to launch both passes: where it is longer than they take on the
GPU, the GPU waits. Inputs are bfloat16 where autocast makes them so.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hnet_dna.ops import BACKENDS
from hnet_dna.ops.serve import trouble_with

HEADS, HEAD, STATE, TILE = 16, 64, 128, 64
WIDTH, INNER = 512, HEADS * HEAD


class Maker:
    """Makes random tensors of one device and, where autocast has them so, low precision."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.low = torch.bfloat16

    def normal(self, *shape: int, low: bool = False) -> Tensor:
        """Return standard normal values."""
        return torch.randn(shape, device=self.device).to(self.low if low else torch.float32)

    def scan(self, batch: int, length: int, *, low: bool = True) -> tuple[str, list[Tensor], tuple[Any, ...]]:
        """Return inputs of the Mamba-2 scan."""
        dt = F.softplus(self.normal(batch, length, HEADS) - 3)
        b, c = (self.normal(batch, length, STATE, low=low) for _ in range(2))
        x, state = self.normal(batch, length, HEADS, HEAD, low=low), self.normal(batch, STATE, HEADS, HEAD)
        return "ssd_scan", [x, dt, -0.5 - 8 * torch.rand(HEADS, device=self.device), b, c, state], (TILE,)

    def conv(self, batch: int, length: int) -> tuple[str, list[Tensor], tuple[Any, ...]]:
        """Return inputs of the convolution before it."""
        widths = [INNER, STATE, STATE]
        shapes = ((batch, 3, sum(widths)), (batch, length, sum(widths)), (sum(widths), 4), (sum(widths),))
        return "causal_conv_silu", [self.normal(*shape, low=True) for shape in shapes], (widths,)

    def gated(self, batch: int, length: int) -> tuple[str, list[Tensor], tuple[Any, ...]]:
        """Return inputs of the gated norm after it."""
        y, x = (self.normal(batch, length, HEADS, HEAD, low=True) for _ in range(2))
        gate = self.normal(batch, length, INNER, low=True)
        return "gated_rms_norm", [y, x, self.normal(HEADS), gate, self.normal(INNER)], (self.low,)

    def norm(self, batch: int, length: int) -> tuple[str, list[Tensor], tuple[Any, ...]]:
        """Return inputs of a layer's norm."""
        return "rms_norm", [self.normal(batch, length, WIDTH), self.normal(WIDTH)], (self.low,)

    def ema(self, batch: int, length: int) -> tuple[str, list[Tensor], tuple[Any, ...]]:
        """Return inputs of the average that smooths chunks."""
        p = torch.rand(batch, length, device=self.device).clamp(1e-4, 1 - 1e-4)
        return "ema_scan", [self.normal(batch, length, WIDTH), p, self.normal(batch, WIDTH)], ()


def milliseconds(call: Callable[[], object], device: str, repeats: int) -> tuple[float, float]:
    """Return the mean time of a call, and of only its launches, after three to warm up."""

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        call()
    wait()
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    launched = time.perf_counter() - began
    wait()
    return 1e3 * (time.perf_counter() - began) / repeats, 1e3 * launched / repeats


def measure(function: Callable[..., Any], inputs: Sequence[Tensor], rest: tuple[Any, ...], repeats: int) -> list[float]:
    """Return milliseconds forward, both ways, and of the launches of both."""
    device = inputs[0].device.type
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]

    def forward() -> tuple[Tensor, ...]:
        outputs = function(*leaves, *rest)
        return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)

    grads = [torch.randn_like(output) for output in forward()]
    with torch.no_grad():
        alone, _ = milliseconds(forward, device, repeats)
    both, host = milliseconds(lambda: torch.autograd.grad(forward(), leaves, grads, allow_unused=True), device, repeats)
    return [alone, both, host]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Speed of the ops.")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="small inputs, one repeat")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU that torch can use; --device cpu --quick shows what would run")
    make = Maker(options.device)
    batch, length = (1, 128) if options.quick else (16, 8192)
    chunks = length // 3 // 64 * 64 + 64
    problems = [make.scan(batch, length), make.conv(batch, length), make.gated(batch, length), make.norm(batch, length)]
    problems += [make.scan(batch, chunks), make.ema(batch, chunks)]
    problems.append(make.scan(1, length, low=False))  # as `segment` reads a genome
    print(torch.cuda.get_device_name() if options.device == "cuda" else "CPU", f"torch {torch.__version__}")
    print(f"{'op':<18}{'positions':<12}{'backend':<8}{'forward':>9}{'both':>9}{'host':>9} ms")
    for op, inputs, rest in problems:
        show(op, inputs, rest, options)


def show(op: str, inputs: list[Tensor], rest: tuple[Any, ...], options: argparse.Namespace) -> None:
    """Print a line for each backend."""
    what = f"{op}{' float32' if op == 'ssd_scan' and inputs[0].dtype == torch.float32 else ''}"
    positions = f"{inputs[0].shape[0]} x {inputs[1 if op == 'causal_conv_silu' else 0].shape[1]}"
    for name in ("torch", "triton", "mamba"):
        if trouble := trouble_with(BACKENDS[name], options.device):
            print(f"{what:<18}{positions:<12}{name:<8} does not serve: {trouble}")
            continue
        times = measure(getattr(BACKENDS[name], op), inputs, rest, 1 if options.quick else 10)
        print(f"{what:<18}{positions:<12}{name:<8}" + "".join(f"{t:>9.3f}" for t in times), flush=True)


if __name__ == "__main__":
    main()
