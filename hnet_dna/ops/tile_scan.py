"""The short recurrence from tile to tile that both scans end in, with a backward pass written by hand.

Left to autograd, each of its few steps would save its own copies and launch its own kernels; by hand, backward is the
same recurrence run from the end.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def tile_scan(gain: Tensor, update: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Compute S_(k+1) = gain_k S_k + update_k over tiles.

    Args:
        gain: (B, K, H) factor of each tile and head.
        update: (B, K, N, H, P) what each tile adds.
        state: (B, N, H, P), S_0.

    Returns:
        The states *before* each tile (B, K, N, H, P), and the state after the last (B, N, H, P).
    """
    states: Tensor = _TileScan.apply(gain, update, state)  # type: ignore[no-untyped-call]
    return states[:, :-1], states[:, -1]


def decay_between(rate: Tensor) -> Tensor:
    """Return exp(sum of rate over (j, i]) for i >= j, 0 elsewhere, for rate (..., T): a (..., T, T) matrix.

    The sums are taken term by term. As differences of one running sum they would lose all digits where the rates are
    large, and so would their gradients.
    """
    size = rate.shape[-1]
    ones = torch.ones(size, size, dtype=torch.bool, device=rate.device)
    terms = rate[..., None].expand(*rate.shape, size).masked_fill(~ones.tril(-1), 0.0)
    return torch.exp(torch.cumsum(terms, dim=-2).masked_fill(~ones.tril(), -torch.inf))


class _TileScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gain: Tensor, update: Tensor, state: Tensor) -> Tensor:
        batch, tiles = gain.shape[:2]
        states = update.new_empty(batch, tiles + 1, *update.shape[2:])
        states[:, 0] = state
        factor = gain[:, :, None, :, None]
        for k in range(tiles):
            torch.addcmul(update[:, k], factor[:, k], states[:, k], out=states[:, k + 1])
        ctx.save_for_backward(gain, states)
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (grad,) = grads
        gain, states = ctx.saved_tensors
        factor = gain[:, :, None, :, None]
        total = grad.clone()  # becomes the gradient of each S_k through all later tiles
        for k in range(gain.shape[1] - 1, -1, -1):
            total[:, k].addcmul_(factor[:, k], total[:, k + 1])
        grad_update = total[:, 1:]
        grad_gain = (grad_update * states[:, :-1]).sum(dim=(2, 4))
        return grad_gain, grad_update, total[:, 0]
