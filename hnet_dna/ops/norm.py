"""Norms and gates of the layers, each as plain PyTorch and with a backward pass written by hand.

These touch every value of the widest tensors, so that on a CPU they cost as much as the matrix products. Autograd keeps
and re-reads each intermediate; by hand, the backward pass recomputes the cheap ones in place. The plain form serves
where dtypes are mixed, as in a model cast to bfloat16.

Shapes: D width, any leading dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-5


def rms_norm_reference(x: Tensor, weight: Tensor) -> Tensor:
    """Follow the definition: x / rms(x) * weight, with statistics in float32 or better."""
    if x.dtype not in (torch.float32, torch.float64):
        x = x.float()
    scale = torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + EPS)
    return (x * scale).to(weight.dtype) * weight


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """Return x / rms(x) * weight for x (..., D) and weight (D,), in the weight's dtype."""
    if x.dtype != weight.dtype or x.dtype not in (torch.float32, torch.float64):
        return rms_norm_reference(x, weight)
    y: Tensor = _RMSNorm.apply(x, weight)  # type: ignore[no-untyped-call]
    return y


def gated_rms_norm_reference(y: Tensor, gate: Tensor, weight: Tensor) -> Tensor:
    """Follow the definition: rms_norm(y * silu(gate), weight)."""
    return rms_norm_reference(y * F.silu(gate), weight)


def gated_rms_norm(y: Tensor, gate: Tensor, weight: Tensor) -> Tensor:
    """Return rms_norm(y * silu(gate), weight), all of y and gate (..., D)."""
    if not y.dtype == gate.dtype == weight.dtype or y.dtype not in (torch.float32, torch.float64):
        return gated_rms_norm_reference(y, gate, weight)
    out: Tensor = _GatedRMSNorm.apply(y, gate, weight)  # type: ignore[no-untyped-call]
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
