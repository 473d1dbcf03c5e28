"""Vectors of chunks given to their positions, for NVIDIA GPUs: in the backward pass a program adds up one run."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from hnet_dna.ops.spread import spread_gather

_CHANNELS = 512  # that one program adds


def spread_triton(z: Tensor, index: Tensor) -> Tensor:
    """Run the kernel in the backward pass; float64 and empty input take PyTorch's."""
    if z.dtype == torch.float64 or not index.numel() or not z.numel():
        return spread_gather(z, index)
    out: Tensor = _Spread.apply(z, index)  # type: ignore[no-untyped-call]
    return out


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.count = z.shape[1]
        return spread_gather(z, index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (index,), grad, count = ctx.saved_tensors, grads[0].contiguous(), ctx.count
        batch, length, width = grad.shape
        total = grad.new_empty(batch, count, width)
        block = min(_CHANNELS, triton.next_power_of_2(width))
        _sum[batch * count, triton.cdiv(width, block)](
            grad, index.contiguous(), total, length, count, D=width, BLOCK=block, num_warps=4
        )
        return total, None


@triton.jit
def _first(index, row, L, run):
    """Return the first of L positions that is of `run` or a later one, L if none is."""
    low, high = 0, L
    while low < high:
        middle = (low + high) // 2
        before = tl.load(index + row + middle) < run
        low = tl.where(before, middle + 1, low)
        high = tl.where(before, high, middle)
    return low


@triton.jit(do_not_specialize=["L", "count"])
def _sum(grad, index, total, L, count, D: tl.constexpr, BLOCK: tl.constexpr):
    sequence, run = (tl.program_id(0) // count).to(tl.int64), tl.program_id(0) % count
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < D
    added = tl.zeros([BLOCK], dtype=tl.float32)
    for position in range(_first(index, sequence * L, L, run), _first(index, sequence * L, L, run + 1)):
        row = sequence * L + position
        added += tl.load(grad + row * D + channel, mask=inside, other=0.0).to(tl.float32)
    tl.store(total + (sequence * count + run) * D + channel, added.to(total.dtype.element_ty), mask=inside)
