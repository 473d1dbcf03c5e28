"""The causal convolution and its gate as one Triton kernel each way, for NVIDIA GPUs.

The signature is documented at `hnet_dna.ops.serve.causal_conv_silu`. Like causal-conv1d's kernels, but compiled by
Triton where PyTorch runs, over channels-last tensors, with the groups of channels written where they are wanted.

Shapes in comments: T positions and C channels of a program.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from hnet_dna.ops.conv import causal_conv_silu_shifted
from hnet_dna.ops.fallback import row_stride, tell_fallback
from hnet_dna.ops.triton_launch import ceil_div, launcher

TAPS = 4  # that the kernels are written out for
_GROUPS = 3
_T = 64


def causal_conv_silu_triton(
    past: Tensor, x: Tensor, weight: Tensor, bias: Tensor, widths: list[int]
) -> tuple[Tensor, ...]:
    """Run the kernels; float64, empty input, other taps than four and other groups than three take shifted products."""
    if x.numel() and weight.shape[1] != TAPS:
        tell_fallback(f"a convolution with d_conv {weight.shape[1]}", f"d_conv {TAPS}")
    if x.dtype == torch.float64 or not x.numel() or weight.shape[1] != TAPS or len(widths) != _GROUPS:
        return causal_conv_silu_shifted(past, x, weight, bias, widths)
    parts = (part.contiguous() for part in (past, x, weight, bias))
    groups: tuple[Tensor, ...] = _Conv.apply(*parts, widths)  # type: ignore[no-untyped-call]
    return groups


def convolve(past: Tensor | None, x: Tensor, weight: Tensor, bias: Tensor, widths: list[int]) -> tuple[Tensor, ...]:
    """Launch the kernel; None for `past` is zeros, and rows of x (B, L, C) may lie apart in memory."""
    batch, length, channels = x.shape
    groups = tuple(x.new_empty(batch, length, width) for width in widths)
    sizes = _sizes(x, past, widths)
    grid = (batch * ceil_div(length, _T), channels // sizes["C"])
    launcher(_conv)[grid](past, x, weight, bias, *groups, length, **sizes, num_warps=4)
    return groups


def convolve_back(
    past: Tensor | None, x: Tensor, weight: Tensor, bias: Tensor, widths: list[int], given: Sequence[Tensor],
    grad_x: Tensor, at: int = 0,
) -> tuple[Tensor | None, Tensor, Tensor]:  # fmt: skip
    """Write the gradient of x to `grad_x`; return those of past, weight and bias.

    Rows of `grad_x` lie as far apart as those of x; `at` is where in a row its columns begin.
    """
    batch, length, channels = x.shape
    grad_past = None if past is None else torch.empty_like(past)
    sizes = _sizes(x, past, widths)
    # Positions of the past have gradients, too: they come first among those that programs share.
    blocks = ceil_div(length + TAPS - 1, _T)
    sums = torch.empty(batch * blocks, (TAPS + 1) * channels, dtype=torch.float32, device=x.device)
    launcher(_conv_back)[batch * blocks, channels // sizes["C"]](
        past, x, weight, bias, *given, grad_past, grad_x, sums, length, **sizes, AT=at, num_warps=8
    )
    of_weight, of_bias = torch.split(sums.sum(dim=0), [TAPS * channels, channels])
    return grad_past, of_weight.view(channels, TAPS).to(weight.dtype), of_bias.to(bias.dtype)


class _Conv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, past: Tensor, x: Tensor, weight: Tensor, bias: Tensor, widths: list[int]
    ) -> tuple[Tensor, ...]:
        groups = convolve(past, x, weight, bias, widths)
        ctx.save_for_backward(past, x, weight, bias)
        ctx.widths = widths
        return groups

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        past, x, weight, bias = ctx.saved_tensors
        grad_x = torch.empty_like(x)
        given = [grad.contiguous() for grad in grads]
        grad_past, of_weight, of_bias = convolve_back(past, x, weight, bias, ctx.widths, given, grad_x)
        return grad_past, grad_x, of_weight, of_bias, None


def _sizes(x: Tensor, past: Tensor | None, widths: list[int]) -> dict[str, Any]:
    """Return the arguments of both kernels: blocks of channels that lie in one group each, and that registers hold."""
    common = math.gcd(*widths)
    block = min(32 if x.dtype == torch.float32 else 64, common & -common)  # the largest power of two in it
    return {
        "CHANNELS": x.shape[-1], "STRIDE": row_stride(x), "PAST": past is not None,
        "W0": widths[0], "W1": widths[1], "W2": widths[2], "T": _T, "C": block,
    }  # fmt: skip


@triton.jit
def _inputs(past, x, sequence, position, channel, L, CHANNELS: tl.constexpr, STRIDE: tl.constexpr, PAST: tl.constexpr):
    """Load inputs at positions (T), of which the last three before 0 are in `past`, for channels (C)."""
    row = sequence * L + position
    values = tl.load(
        x + row[:, None] * STRIDE + channel[None, :], mask=((position >= 0) & (position < L))[:, None], other=0.0
    ).to(tl.float32)
    if PAST:
        values += tl.load(
            past + (sequence * 3 + position + 3)[:, None] * CHANNELS + channel[None, :],
            mask=((position >= -3) & (position < 0))[:, None],
            other=0.0,
        ).to(tl.float32)
    return values


@triton.jit(do_not_specialize=["L"])
def _conv(
    past, x, weight, bias, first, second, third, L, CHANNELS: tl.constexpr,
    STRIDE: tl.constexpr, PAST: tl.constexpr, W0: tl.constexpr, W1: tl.constexpr, W2: tl.constexpr,
    T: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(L, T)
    sequence = (tl.program_id(0) // blocks).to(tl.int64)
    position = (tl.program_id(0) % blocks) * T + tl.arange(0, T)
    start = tl.program_id(1) * C
    channel = start + tl.arange(0, C)
    y = tl.zeros([T, C], dtype=tl.float32) + tl.load(bias + channel).to(tl.float32)[None, :]
    for k in tl.static_range(4):
        tap = tl.load(weight + channel * 4 + k).to(tl.float32)
        y += tap[None, :] * _inputs(past, x, sequence, position + (k - 3), channel, L, CHANNELS, STRIDE, PAST)
    y = (y * tl.sigmoid(y)).to(x.dtype.element_ty)
    inside, row, own = (position < L)[:, None], (sequence * L + position)[:, None], tl.arange(0, C)[None, :]
    if start < W0:
        tl.store(first + row * W0 + start + own, y, mask=inside)
    elif start < W0 + W1:
        tl.store(second + row * W1 + (start - W0) + own, y, mask=inside)
    else:
        tl.store(third + row * W2 + (start - W0 - W1) + own, y, mask=inside)


@triton.jit
def _given(
    first, second, third, sequence, position, start, L,
    W0: tl.constexpr, W1: tl.constexpr, W2: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Load the gradients of the outputs at positions (T) for the channels from `start` (C), 0 outside."""
    inside = ((position >= 0) & (position < L))[:, None]
    row, own = (sequence * L + position)[:, None], tl.arange(0, C)[None, :]
    if start < W0:
        gradient = tl.load(first + row * W0 + start + own, mask=inside, other=0.0).to(tl.float32)
    elif start < W0 + W1:
        gradient = tl.load(second + row * W1 + (start - W0) + own, mask=inside, other=0.0).to(tl.float32)
    else:
        gradient = tl.load(third + row * W2 + (start - W0 - W1) + own, mask=inside, other=0.0).to(tl.float32)
    return gradient


@triton.jit(do_not_specialize=["L"])
def _conv_back(
    past, x, weight, bias, first, second, third, grad_past, grad_x, sums, L, CHANNELS: tl.constexpr,
    STRIDE: tl.constexpr, PAST: tl.constexpr, W0: tl.constexpr, W1: tl.constexpr, W2: tl.constexpr,
    T: tl.constexpr, C: tl.constexpr, AT: tl.constexpr,
):  # fmt: skip
    """Give inputs at T positions, of which the first may be the past's, the gradients of the four that read them.

    The outputs before the gate are computed again from inputs that are in the cache. What positions add to the weights'
    gradients is summed by their own program.
    """
    blocks = tl.cdiv(L + 3, T)
    sequence = (tl.program_id(0) // blocks).to(tl.int64)
    position = (tl.program_id(0) % blocks) * T + tl.arange(0, T) - 3
    start = tl.program_id(1) * C
    channel = start + tl.arange(0, C)
    offset = tl.load(bias + channel).to(tl.float32)[None, :]
    total = tl.zeros([T, C], dtype=tl.float32)
    for ahead in tl.static_range(4):
        reader = position + ahead
        y = tl.zeros([T, C], dtype=tl.float32) + offset
        for k in tl.static_range(4):
            tap = tl.load(weight + channel * 4 + k).to(tl.float32)
            y += tap[None, :] * _inputs(past, x, sequence, reader + (k - 3), channel, L, CHANNELS, STRIDE, PAST)
        open_ = tl.sigmoid(y)
        given = _given(first, second, third, sequence, reader, start, L, W0, W1, W2, C)
        given *= open_ * (1.0 + y * (1.0 - open_))
        total += given * tl.load(weight + channel * 4 + (3 - ahead)).to(tl.float32)[None, :]
        if ahead == 0:
            at = tl.program_id(0).to(tl.int64) * 5 * CHANNELS
            for k in tl.static_range(4):
                seen = _inputs(past, x, sequence, reader + (k - 3), channel, L, CHANNELS, STRIDE, PAST)
                tl.store(sums + at + channel * 4 + k, tl.sum(given * seen, axis=0))
            tl.store(sums + at + 4 * CHANNELS + channel, tl.sum(given, axis=0))
    low = total.to(x.dtype.element_ty)
    row = sequence * L + position
    tl.store(
        grad_x + row[:, None] * STRIDE + (AT + channel[None, :]), low, mask=((position >= 0) & (position < L))[:, None]
    )
    if PAST:
        tl.store(
            grad_past + (sequence * 3 + position + 3)[:, None] * CHANNELS + channel[None, :],
            low,
            mask=(position < 0)[:, None],
        )
