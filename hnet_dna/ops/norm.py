"""Norms and gates of the layers, each as plain PyTorch and with a backward pass written by hand.

These touch every value of the widest tensors, so that on a CPU they cost as much as the matrix products. Autograd keeps
and re-reads each intermediate; by hand, the backward pass recomputes the cheap ones in place. The plain form serves
where dtypes are mixed, as under autocast. Signatures of both norms are documented at `hnet_dna.ops.serve`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hnet_dna.ops.precision import at_least_float32

EPS = 1e-5


def rms_norm_reference(x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Follow the definition, with statistics in float32 or better."""
    x = at_least_float32(x)
    scale = torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + EPS)
    return ((x * scale).to(weight.dtype) * weight).to(dtype)


def rms_norm(x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Run the backward pass by hand where all is of one dtype."""
    if not x.dtype == weight.dtype == dtype or x.dtype not in (torch.float32, torch.float64):
        return rms_norm_reference(x, weight, dtype)
    y: Tensor = _RMSNorm.apply(x, weight)  # type: ignore[no-untyped-call]
    return y


def gated_rms_norm_reference(
    y: Tensor, x: Tensor, skip: Tensor, gate: Tensor, weight: Tensor, dtype: torch.dtype
) -> Tensor:
    """Follow the definition, in float32 or better."""
    summed = torch.addcmul(at_least_float32(y), x, skip[:, None]).flatten(-2)
    return rms_norm_reference(summed * F.silu(gate), weight, dtype)


def gated_rms_norm(y: Tensor, x: Tensor, skip: Tensor, gate: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Run the backward pass by hand where all is of one dtype."""
    if not y.dtype == gate.dtype == weight.dtype == dtype or y.dtype not in (torch.float32, torch.float64):
        return gated_rms_norm_reference(y, x, skip, gate, weight, dtype)
    summed = torch.addcmul(y, x, skip[:, None]).flatten(-2)
    out: Tensor = _GatedRMSNorm.apply(summed, gate, weight)  # type: ignore[no-untyped-call]
    return out


def swiglu_reference(value: Tensor, gate: Tensor) -> Tensor:
    """Follow the definition: value * silu(gate)."""
    return value * F.silu(gate)


def swiglu(value: Tensor, gate: Tensor) -> Tensor:
    """Return value * silu(gate), both (..., D) of one dtype."""
    y: Tensor = _SwiGLU.apply(value, gate)  # type: ignore[no-untyped-call]
    return y


def _inverse_rms(x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.square_().div_(x.shape[-1]).add_(EPS).rsqrt_()


def _norm_backward(grad: Tensor, unit: Tensor, weight: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """Return gradients of x and weight, `unit` being x / rms(x)."""
    product = grad * unit
    grad_weight = product.reshape(-1, product.shape[-1]).sum(0)
    mean = product.mul_(weight).mean(dim=-1, keepdim=True)
    grad_x = torch.mul(grad, weight, out=product).addcmul_(unit, mean, value=-1).mul_(inverse)
    return grad_x, grad_weight


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        inverse = _inverse_rms(x)
        ctx.save_for_backward(x, weight, inverse)
        return (x * inverse).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, weight, inverse = ctx.saved_tensors
        return _norm_backward(grads[0], x * inverse, weight, inverse)


class _GatedRMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, gate: Tensor, weight: Tensor) -> Tensor:
        x = F.silu(gate).mul_(y)
        inverse = _inverse_rms(x)
        ctx.save_for_backward(y, gate, weight, inverse)
        return x.mul_(inverse).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, gate, weight, inverse = ctx.saved_tensors
        opened = F.silu(gate)
        grad, grad_weight = _norm_backward(grads[0], (opened * y).mul_(inverse), weight, inverse)
        grad_y = opened.mul_(grad)
        grad_gate = torch.ops.aten.silu_backward(grad.mul_(y), gate)
        return grad_y, grad_gate, grad_weight


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gate: Tensor) -> Tensor:
        ctx.save_for_backward(value, gate)
        return F.silu(gate).mul_(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        value, gate = ctx.saved_tensors
        return F.silu(gate).mul_(grads[0]), torch.ops.aten.silu_backward(grads[0] * value, gate)
