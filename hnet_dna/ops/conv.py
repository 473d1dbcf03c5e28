"""Causal depthwise convolution with its gate, over channels-last sequences, with a backward pass written by hand.

The signature is documented at `hnet_dna.ops.serve.causal_conv_silu`. PyTorch's grouped convolution wants channels
first and is slow on CPU; as K shifted multiply-adds the forward pass is K passes over the data, and so is backward,
where autograd would keep K partial sums alive. The gate and the split into groups of channels are part of it, so that
gradients of the groups are written to their places and never joined.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hnet_dna.ops.precision import at_least_float32


def causal_conv_silu_reference(
    past: Tensor, x: Tensor, weight: Tensor, bias: Tensor, widths: list[int]
) -> tuple[Tensor, ...]:
    """Follow the definition, in float32 or better, by PyTorch's own convolution."""
    joined = at_least_float32(torch.cat([past, x], dim=1)).transpose(1, 2)
    dtype = joined.dtype
    if not x.shape[1]:
        return torch.split(x, widths, dim=-1)
    y = F.conv1d(joined, weight[:, None].to(dtype), bias.to(dtype), groups=len(bias)).transpose(1, 2)
    return torch.split(F.silu(y).to(x.dtype), widths, dim=-1)


def causal_conv_silu_shifted(
    past: Tensor, x: Tensor, weight: Tensor, bias: Tensor, widths: list[int]
) -> tuple[Tensor, ...]:
    """Add K shifted products, in the dtype of x."""
    groups: tuple[Tensor, ...] = _CausalConvSilu.apply(past, x, weight, bias, widths)  # type: ignore[no-untyped-call]
    return groups


class _CausalConvSilu(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, past: Tensor, x: Tensor, weight: Tensor, bias: Tensor, widths: list[int]
    ) -> tuple[Tensor, ...]:
        joined = torch.cat([past, x], dim=1)
        taps, length = weight.t().contiguous(), x.shape[1]
        y = torch.addcmul(bias, joined[:, :length], taps[0])
        for k in range(1, len(taps)):
            y.addcmul_(joined[:, k : k + length], taps[k])
        ctx.save_for_backward(joined, weight, y)
        ctx.widths = widths
        return tuple(F.silu(group) for group in torch.split(y, widths, dim=-1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        joined, weight, y = ctx.saved_tensors
        grad = torch.empty_like(y)
        parts = zip(grads, *(torch.split(t, ctx.widths, dim=-1) for t in (y, grad)), strict=True)
        for given, group, target in parts:
            torch.ops.aten.silu_backward.grad_input(given, group, grad_input=target)
        taps = weight.t().contiguous()
        before, length = len(taps) - 1, grad.shape[1]
        grad_past, grad_taps = None, torch.empty_like(taps)
        if ctx.needs_input_grad[0]:
            grad_past = torch.zeros_like(joined[:, :before])
            for k in range(before):
                grad_past[:, k : k + length].addcmul_(grad[:, : before - k], taps[k])
        grad_x = grad * taps[before]
        product = torch.empty_like(grad)
        for k in range(len(taps)):
            if 0 < before - k < length:
                grad_x[:, : length - (before - k)].addcmul_(grad[:, before - k :], taps[k])
            torch.mul(grad, joined[:, k : k + length], out=product)
            grad_taps[k] = product.sum(dim=(0, 1))
        return grad_past, grad_x, grad_taps.t(), grad.sum(dim=(0, 1)), None
