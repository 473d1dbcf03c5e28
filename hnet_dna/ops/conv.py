"""Causal depthwise convolution over channels-last sequences, with a backward pass written by hand.

PyTorch's grouped convolution wants channels first and is slow on CPU; as K shifted multiply-adds the forward pass is
K passes over the data, and so is backward, where autograd would keep K partial sums alive.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def causal_conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute y_t = bias + sum_k weight[:, k] x_(t+k), x beginning K-1 positions before y.

    Args:
        x: (B, K-1+L, C), the K-1 positions before the piece first.
        weight: (C, K), the last tap being the current position.
        bias: (C,).

    Returns:
        (B, L, C).
    """
    y: Tensor = _CausalConv.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y


class _CausalConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        taps = weight.t().contiguous()
        length = x.shape[1] - len(taps) + 1
        y = torch.addcmul(bias, x[:, :length], taps[0])
        for k in range(1, len(taps)):
            y.addcmul_(x[:, k : k + length], taps[k])
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        taps = weight.t().contiguous()
        length = grad.shape[1]
        grad_x, grad_taps = torch.zeros_like(x), torch.empty_like(taps)
        product = torch.empty_like(grad)
        for k in range(len(taps)):
            grad_x[:, k : k + length].addcmul_(grad, taps[k])
            torch.mul(grad, x[:, k : k + length], out=product)
            grad_taps[k] = product.sum(dim=(0, 1))
        return grad_x, grad_taps.t(), grad.sum(dim=(0, 1))
