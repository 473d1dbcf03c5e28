"""Causal depthwise convolution over channels-last sequences, with a backward pass written by hand.

PyTorch's grouped convolution wants channels first and is slow on CPU; as K shifted multiply-adds the forward pass is
K passes over the data, and so is backward, where autograd would keep K partial sums alive.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def causal_conv(past: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute y_t = bias + sum_k weight[:, k] x_(t-K+1+k), the last tap being the current position.

    Args:
        past: (B, K-1, C), the positions before x.
        x: (B, L, C).
        weight: (C, K).
        bias: (C,).

    Returns:
        (B, L, C).
    """
    y: Tensor = _CausalConv.apply(past, x, weight, bias)  # type: ignore[no-untyped-call]
    return y


class _CausalConv(torch.autograd.Function):
    """Taps are taken by their lag; the first positions hear the past, which is never joined to x in memory."""

    @staticmethod
    def forward(ctx: Any, past: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(past, x, weight)
        taps = weight.t().flip(0).contiguous()  # by lag
        length = x.shape[1]
        y = torch.addcmul(bias, x, taps[0])
        for lag in range(1, len(taps)):
            y[:, lag:].addcmul_(x[:, : max(length - lag, 0)], taps[lag])
            early = min(lag, length)
            start = past.shape[1] - lag
            y[:, :early].addcmul_(past[:, start : start + early], taps[lag])
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        (grad,) = grads
        past, x, weight = ctx.saved_tensors
        taps = weight.t().flip(0).contiguous()
        length = grad.shape[1]
        grad_past, grad_taps = torch.zeros_like(past), torch.empty_like(taps)
        product = grad * x
        grad_taps[0] = product.sum(dim=(0, 1))
        grad_x = torch.mul(grad, taps[0])
        for lag in range(1, len(taps)):
            late, early = max(length - lag, 0), min(lag, length)
            start = past.shape[1] - lag
            grad_x[:, :late].addcmul_(grad[:, lag:], taps[lag])
            grad_past[:, start : start + early].addcmul_(grad[:, :early], taps[lag])
            within = torch.mul(grad[:, lag:], x[:, :late], out=product[:, :late])
            before = (grad[:, :early] * past[:, start : start + early]).sum(dim=(0, 1))
            grad_taps[lag] = within.sum(dim=(0, 1)) + before
        return grad_past, grad_x, grad_taps.flip(0).t(), grad.sum(dim=(0, 1))
