"""Compares a backend with the plain loops: outputs, states and gradients, at odd lengths, with padding at the end.

The Mamba-2 scan and its convolution are compared twice: with inputs in float32, and in bfloat16, as they get them
under autocast. It takes well under a second on a CPU. The random numbers have their own generator, so that a check in
the middle of a run changes nothing in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from hnet_dna.ops.backend import Backend
from hnet_dna.ops.conv import causal_conv_silu_reference
from hnet_dna.ops.ema import ema_scan_reference
from hnet_dna.ops.layers import (
    MambaPast,
    MambaWeights,
    MlpWeights,
    mamba_layer_reference,
    mlp_layer_reference,
)
from hnet_dna.ops.norm import gated_rms_norm_reference, rms_norm_reference
from hnet_dna.ops.spread import spread_gather
from hnet_dna.ops.ssd import ssd_scan_reference

OPS = ("ssd_scan", "ema_scan", "causal_conv_silu", "rms_norm", "gated_rms_norm")
# The moving average is float32 or better everywhere.
_CASES = (
    ("ssd_scan", torch.float32),
    ("ssd_scan", torch.bfloat16),
    ("ema_scan", torch.float32),
    ("causal_conv_silu", torch.float32),
    ("causal_conv_silu", torch.bfloat16),
    ("rms_norm", torch.float32),
    ("gated_rms_norm", torch.float32),
    ("gated_rms_norm", torch.bfloat16),
    ("mamba_layer", torch.float32),
    ("mamba_layer", torch.bfloat16),
    ("mlp_layer", torch.float32),
    ("mlp_layer", torch.bfloat16),
    ("spread", torch.float32),
)


@dataclass(frozen=True)
class _Sizes:
    """Problem sizes, and the error allowed relative to the largest value; five times that for gradients."""

    width: int
    states: int
    tile: int
    lengths: tuple[int, ...]
    tolerance: float


_SMALL = _Sizes(width=16, states=16, tile=16, lengths=(0, 1, 77), tolerance=1e-4)
# The sizes of published models, so that kernels tuned and compiled for the check serve afterwards. Triton's products
# of float32 keep 10 bits of the mantissa on a GPU, and so may PyTorch's.
_GPU = _Sizes(width=64, states=128, tile=64, lengths=(0, 1, 205), tolerance=1e-2)
_GRADIENTS = 5.0
# bfloat16 has 8 bits: a kernel rounds scores, states and outputs to them, each by up to 0.4 %.
_BFLOAT16 = 2e-2
_NORM = 1e-2  # of an error, relative to what it is the error of: rounding to bfloat16 everywhere leaves half of it
# A part of a layer rounds after each of its products. Its plain form in bfloat16 is as far from that in float32.
_LAYER_BFLOAT16, _LAYER_NORM = 4e-2, 1e-1


@dataclass(frozen=True)
class Check:
    """How far one op of a backend is from the reference.

    Attributes:
        op: one of `OPS`, or a part of a layer that the backend has as one op.
        precision: of its inputs, `float32` or `bfloat16`.
        output: largest error of outputs and final states, relative to the largest value.
        gradient: the same of the gradients of all inputs.
        norm: norm of the error of any output, state or gradient, relative to its own: what is wrong in a few places,
            such as the edge of a tile, may be small beside the largest value but not beside the rounding of all.
        tolerance: what `output` may be; `gradient` may be five times this, and `norm` at most a hundredth, or a
            tenth for a part of a layer in bfloat16.
        trouble: what is wrong in words, or None.
    """

    op: str
    precision: str
    output: float
    gradient: float
    norm: float
    tolerance: float
    trouble: str | None


def check_backend(backend: Backend, device: str) -> tuple[Check, ...]:
    """Compare all ops of `backend` with the reference on `device`; whatever it raises becomes `trouble`."""
    sizes = _GPU if device == "cuda" else _SMALL
    checks = []
    for op, dtype in _CASES:
        if getattr(backend, op) in (None, spread_gather):
            continue  # it has no such op, or that of PyTorch
        whole, rounding, most = op not in OPS, _BFLOAT16, _NORM
        if whole and dtype == torch.bfloat16:
            rounding, most = _LAYER_BFLOAT16, _LAYER_NORM
        tolerance = sizes.tolerance if dtype == torch.float32 else max(sizes.tolerance, rounding)
        precision = str(dtype).removeprefix("torch.")
        worst_output = worst_gradient = worst_norm = 0.0
        trouble = None
        for length in (sizes.lengths[-1] // 3,) if whole else sizes.lengths:
            try:
                output, gradient, norm = _errors(op, dtype, backend, length, sizes, device)
            except Exception as error:  # a foreign kernel may raise anything, and none of it may stop the caller
                trouble = f"{op} of length {length} in {precision} raises {type(error).__name__}: {error}"
                break
            worst_output, worst_gradient = max(worst_output, output), max(worst_gradient, gradient)
            worst_norm = max(worst_norm, norm)
            if output > tolerance or gradient > _GRADIENTS * tolerance or norm > most:
                trouble = (
                    f"{op} of length {length} in {precision} differs from the reference by {output:.1e} in outputs, "
                    f"{gradient:.1e} in gradients and {norm:.1e} in norm; {tolerance:.0e}, "
                    f"{_GRADIENTS * tolerance:.0e} and {most:.0e} are allowed"
                )
                break
        checks.append(Check(op, precision, worst_output, worst_gradient, worst_norm, tolerance, trouble))
    return tuple(checks)


def _errors(
    op: str, dtype: torch.dtype, backend: Backend, length: int, sizes: _Sizes, device: str
) -> tuple[float, float, float]:
    plain, make, rounded = _PROBLEMS[op]
    # Whoever calls may be in inference, or inside a checkpoint that would take what is saved here for its own.
    own = torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x)
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False), own, _whole_float32():
        made, rest = make(length, sizes)
        inputs = [tensor.to(device) for tensor in made]
        rest = tuple(part.to(device) if isinstance(part, Tensor) else part for part in rest)
        if dtype == torch.bfloat16 and rounded:  # both get the rounded values
            inputs = [tensor.to(dtype) if index in rounded else tensor for index, tensor in enumerate(inputs)]
        inputs = [tensor.requires_grad_() for tensor in inputs]
        actual = _call(op, getattr(backend, op), inputs, rest, dtype)
        expected = _call(op, plain, inputs, rest, torch.float32)
        return _compare(actual, expected, inputs)


@contextmanager
def _whole_float32() -> Iterator[None]:
    """Multiply float32 by PyTorch with all its bits, also where the caller does with less."""
    matmul = torch.backends.cuda.matmul
    before, matmul.allow_tf32 = matmul.allow_tf32, False
    try:
        yield
    finally:
        matmul.allow_tf32 = before


def _call(
    op: str, function: Callable[..., Any], inputs: list[Tensor], rest: tuple[Any, ...], dtype: torch.dtype
) -> tuple[Tensor, ...]:
    if op == "mlp_layer":
        return (function(inputs[0], MlpWeights(*inputs[1:]), dtype),)
    if op == "mamba_layer":
        # With gradients from the start of the sequences; without, after a past.
        residual, conv, ssm, *parts = inputs
        weights = MambaWeights(*parts)
        first: tuple[Tensor, ...] = function(residual, weights, *rest[:1], None, *rest[1:], dtype)
        with torch.no_grad():
            later = function(residual, weights, *rest[:1], MambaPast(conv, ssm), *rest[1:], dtype)
        return (first[0], *(output.detach() for output in (*first[1:], *later)))
    results = function(*inputs, *rest)
    return (results,) if isinstance(results, Tensor) else tuple(results)


def _compare(
    actual: tuple[Tensor, ...], expected: tuple[Tensor, ...], inputs: list[Tensor]
) -> tuple[float, float, float]:
    outputs = [_relative(f, e) for f, e in zip(actual, expected, strict=True)]
    weights = [torch.cos(torch.arange(e.numel(), device=e.device).reshape(e.shape)) for e in expected]
    both = []
    for results in (actual, expected):
        total = torch.stack([(r.float() * w).sum() for r, w in zip(results, weights, strict=True)]).sum()
        grads = torch.autograd.grad(total, inputs, allow_unused=True)
        both.append([torch.zeros_like(i) if g is None else g for g, i in zip(grads, inputs, strict=True)])
    gradients = [_relative(f, e) for f, e in zip(*both, strict=True)]
    norms = [_relative_norm(f, e) for f, e in [*zip(actual, expected, strict=True), *zip(*both, strict=True)]]
    return max(outputs), max(gradients), max(norms)


def _relative_norm(actual: Tensor, expected: Tensor) -> float:
    actual, expected = actual.detach().double(), expected.detach().double()
    error = (actual - expected).norm() / expected.norm().clamp(min=1e-30)
    return float(error) if torch.isfinite(error) else float("inf")


def _relative(actual: Tensor, expected: Tensor) -> float:
    if actual.shape != expected.shape:
        raise ValueError(f"shape {tuple(actual.shape)}, expected {tuple(expected.shape)}")
    if not actual.numel():
        return 0.0
    actual, expected = actual.detach().float(), expected.detach().float()
    error = (actual - expected).abs().max() / expected.abs().max().clamp(min=1e-30)
    # No comparison with NaN is ever true, so that it would pass for a small error.
    return float(error) if torch.isfinite(error) else float("inf")


# Tensors, then what else an op takes.
_Made: TypeAlias = "tuple[tuple[Tensor, ...], tuple[int | list[int] | torch.dtype | Tensor, ...]]"


def _ssd_inputs(length: int, sizes: _Sizes) -> _Made:
    make, heads = torch.Generator().manual_seed(length), 2
    shape = (2, length)
    dt = F.softplus(torch.randn(*shape, heads, generator=make) - 2)
    dt[:, length - length // 8 :] = 0  # padding
    tensors = (
        torch.randn(*shape, heads, sizes.width, generator=make),
        dt,
        -0.1 - torch.rand(heads, generator=make),
        torch.randn(*shape, sizes.states, generator=make),
        torch.randn(*shape, sizes.states, generator=make),
        torch.randn(2, sizes.states, heads, sizes.width, generator=make),
    )
    return tensors, (sizes.tile,)


def _ema_inputs(length: int, sizes: _Sizes) -> _Made:
    make = torch.Generator().manual_seed(length)
    p = torch.rand(2, length, generator=make).clamp(1e-4, 1 - 1e-2)
    p[:, length - length // 8 :] = 0
    return (torch.randn(2, length, sizes.width, generator=make), p, torch.randn(2, sizes.width, generator=make)), ()


def _conv_inputs(length: int, sizes: _Sizes) -> _Made:
    make, taps = torch.Generator().manual_seed(length), 4
    widths = [sizes.width, sizes.states, sizes.states]
    channels = sum(widths)
    tensors = (
        torch.randn(2, taps - 1, channels, generator=make),
        torch.randn(2, length, channels, generator=make),
        torch.randn(channels, taps, generator=make) / 2,
        torch.randn(channels, generator=make),
    )
    return tensors, (widths,)


def _norm_inputs(length: int, sizes: _Sizes) -> _Made:
    make = torch.Generator().manual_seed(length)
    return (3 * torch.randn(2, length, sizes.width, generator=make), torch.rand(sizes.width, generator=make)), (
        torch.float32,
    )


def _gated_inputs(length: int, sizes: _Sizes) -> _Made:
    make, heads = torch.Generator().manual_seed(length), 3
    shape, width = (2, length, heads, sizes.width), heads * sizes.width
    tensors = (
        torch.randn(shape, generator=make),
        torch.randn(shape, generator=make),
        torch.randn(heads, generator=make),
        torch.randn(2, length, width, generator=make),
        torch.rand(width, generator=make),
    )
    return tensors, (torch.float32,)


def _mamba_inputs(length: int, sizes: _Sizes) -> _Made:
    make, heads, taps = torch.Generator().manual_seed(length), 2, 4
    width, inner, states = 2 * sizes.width, 2 * sizes.width, sizes.states
    channels = inner + 2 * states
    tensors = (
        2 * torch.randn(2, length, width, generator=make),
        torch.randn(2, taps - 1, channels, generator=make),
        torch.randn(2, states, heads, inner // heads, generator=make),
        torch.rand(width, generator=make),
        torch.randn(inner + channels + heads, width, generator=make) / width**0.5,
        torch.randn(channels, taps, generator=make) / 2,
        torch.randn(channels, generator=make),
        torch.randn(heads, generator=make) - 2,
        torch.rand(heads, generator=make),
        torch.randn(heads, generator=make),
        torch.rand(inner, generator=make),
        torch.randn(width, inner, generator=make) / inner**0.5,
    )
    return tensors, (torch.tensor([length, length - length // 8]), sizes.tile)


def _mlp_inputs(length: int, sizes: _Sizes) -> _Made:
    make, width = torch.Generator().manual_seed(length), sizes.width
    tensors = (
        2 * torch.randn(2, length, width, generator=make),
        torch.rand(width, generator=make),
        torch.randn(6 * width, width, generator=make) / width**0.5,
        torch.randn(width, 3 * width, generator=make) / width**0.5,
    )
    return tensors, ()


def _spread_inputs(length: int, sizes: _Sizes) -> _Made:
    make = torch.Generator().manual_seed(length)
    index = torch.cumsum(torch.rand(2, length, generator=make) < 0.3, dim=1)
    return (torch.randn(2, length + 3, sizes.width, generator=make),), (index,)


_Results: TypeAlias = "Tensor | tuple[Tensor, ...]"
# Of each op: its plain form, what makes its inputs, and which of them are bfloat16 under autocast: of the scan x, b and
# c, since steps, rates and states are float32 always; of the convolution all; of the gated norm what comes from both.
_PROBLEMS: dict[str, tuple[Callable[..., _Results], Callable[[int, _Sizes], _Made], tuple[int, ...]]] = {
    "ssd_scan": (ssd_scan_reference, _ssd_inputs, (0, 3, 4)),
    "ema_scan": (ema_scan_reference, _ema_inputs, ()),
    "causal_conv_silu": (causal_conv_silu_reference, _conv_inputs, (0, 1, 2, 3)),
    "rms_norm": (rms_norm_reference, _norm_inputs, ()),
    "gated_rms_norm": (gated_rms_norm_reference, _gated_inputs, (0, 1, 3)),
    "mamba_layer": (mamba_layer_reference, _mamba_inputs, ()),
    "mlp_layer": (mlp_layer_reference, _mlp_inputs, ()),
    "spread": (spread_gather, _spread_inputs, ()),
}
