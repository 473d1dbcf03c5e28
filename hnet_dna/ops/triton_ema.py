"""The moving average that smooths chunks, as one Triton kernel each way, for NVIDIA GPUs.

The signature is documented at `hnet_dna.ops.serve.ema_scan`. One program takes some channels of one sequence and
walks over tiles of chunks with the average in registers; within a tile it is a matrix product in float32.

Shapes in comments: T chunks of a tile, C channels of a program.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from hnet_dna.ops.ema import ema_scan_chunked
from hnet_dna.ops.triton_ssd import decay_between

_TILE = 32
_CHANNELS = 32


def ema_scan_triton(z: Tensor, p: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Run the kernels; float64 and empty input take the tiled form."""
    if torch.float64 in (z.dtype, state.dtype) or not z.numel():
        return ema_scan_chunked(z, p, state)
    out, last = _Average.apply(z.contiguous(), p.contiguous(), state.contiguous())  # type: ignore[no-untyped-call]
    return out, last


class _Average(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, p: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        out, last = torch.empty_like(z), torch.empty_like(state)
        _average[_grid(z)](z, p, state, out, last, **_sizes(z))
        ctx.save_for_backward(z, p, state, out)
        return out, last

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z, p, state, out = ctx.saved_tensors
        grad_out, grad_last = (grad.contiguous() for grad in grads)
        grad_z, grad_state = torch.empty_like(z), torch.empty_like(state)
        of_p = p.new_empty(_grid(z)[1], *p.shape)
        _average_back[_grid(z)](z, p, state, out, grad_out, grad_last, grad_z, of_p, grad_state, **_sizes(z))
        return grad_z, of_p.sum(dim=0), grad_state


def _grid(z: Tensor) -> tuple[int, int]:
    return z.shape[0], triton.cdiv(z.shape[2], _CHANNELS)


def _sizes(z: Tensor) -> dict[str, int]:
    return {"M": z.shape[1], "D": z.shape[2], "T": _TILE, "C": _CHANNELS, "num_warps": 4}


@triton.jit
def _weights(p, row, inside):
    """Return p (T), and what is left of the average after each chunk and all before it in the tile, as logarithm."""
    weight = tl.load(p + row, mask=inside, other=0.0)
    return weight, tl.cumsum(-tl.log(1.0 / (1.0 - weight)), axis=0)


@triton.jit(do_not_specialize=["M"])
def _average(z, p, state, out, last, M, D: tl.constexpr, T: tl.constexpr, C: tl.constexpr):
    sequence, i = tl.program_id(0).to(tl.int64), tl.arange(0, T)
    channel = tl.program_id(1) * C + tl.arange(0, C)
    in_c = channel < D
    carried = tl.load(state + sequence * D + channel, mask=in_c, other=0.0)
    for k in range(tl.cdiv(M, T)):
        chunk = k * T + i
        inside = chunk < M
        row = sequence * M + chunk
        weight, a = _weights(p, row, inside)
        at, in_tile = row[:, None] * D + channel[None, :], inside[:, None] & in_c[None, :]
        zs = tl.load(z + at, mask=in_tile, other=0.0)
        smooth = tl.dot(decay_between(a, i) * weight[None, :], zs, input_precision="ieee")
        smooth += tl.exp(a)[:, None] * carried[None, :]
        tl.store(out + at, smooth, mask=in_tile)
        # Padding has p = 0, so that the last row is the average after the tile in any case.
        carried = tl.sum(tl.where((i == T - 1)[:, None], smooth, 0.0), axis=0)
    tl.store(last + sequence * D + channel, carried, mask=in_c)


@triton.jit(do_not_specialize=["M"])
def _average_back(
    z, p, state, out, grad_out, grad_last, grad_z, of_p, grad_state, M, D: tl.constexpr, T: tl.constexpr,
    C: tl.constexpr,
):  # fmt: skip
    """Walk from the last tile with the gradient of the average after the tile; each p gets (z_j - out_(j-1)) of it."""
    sequence, i = tl.program_id(0).to(tl.int64), tl.arange(0, T)
    channel = tl.program_id(1) * C + tl.arange(0, C)
    in_c = channel < D
    first = tl.load(state + sequence * D + channel, mask=in_c, other=0.0)
    carried = tl.load(grad_last + sequence * D + channel, mask=in_c, other=0.0)
    tiles = tl.cdiv(M, T)
    for back in range(tiles):
        chunk = (tiles - 1 - back) * T + i
        inside = chunk < M
        row = sequence * M + chunk
        weight, a = _weights(p, row, inside)
        at, in_tile = row[:, None] * D + channel[None, :], inside[:, None] & in_c[None, :]
        given = tl.load(grad_out + at, mask=in_tile, other=0.0)
        total = tl.sum(tl.where(i == T - 1, a, 0.0), axis=0)
        of_average = tl.dot(tl.trans(decay_between(a, i)), given, input_precision="ieee")
        of_average += tl.exp(total - a)[:, None] * carried[None, :]
        tl.store(grad_z + at, of_average * weight[:, None], mask=in_tile)
        before = tl.load(out + at - D, mask=in_tile & (chunk > 0)[:, None], other=0.0)
        before += tl.where((chunk == 0)[:, None], first[None, :], 0.0)
        zs = tl.load(z + at, mask=in_tile, other=0.0)
        of_weight = tl.sum(of_average * (zs - before), axis=1)
        tl.store(of_p + tl.program_id(1).to(tl.int64) * tl.num_programs(0) * M + row, of_weight, mask=inside)
        carried = tl.sum(tl.where((i == 0)[:, None], of_average * tl.exp(a)[:, None], 0.0), axis=0)
    tl.store(grad_state + sequence * D + channel, carried, mask=in_c)
