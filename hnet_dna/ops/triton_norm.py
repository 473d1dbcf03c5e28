"""Norms and gates of the layers as one Triton kernel each way, for NVIDIA GPUs.

Signatures are documented at `hnet_dna.ops.serve`. Each touches every value of the widest tensors and does little with
it, so that on a GPU they cost as much as the matrix products if every step is a pass over memory of its own. Here a
value is read once and written once.

Shapes in comments: E the normalised width.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from hnet_dna.ops.fallback import row_stride, tell_fallback
from hnet_dna.ops.norm import EPS, gated_rms_norm, rms_norm
from hnet_dna.ops.triton_launch import launcher

WIDEST = 8192  # that one program takes
_PROGRAMS = 2048  # of a backward pass, each with its own sum of the weights' gradients


def rms_norm_triton(x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Run the kernels; float64 and what is too wide for them takes the plain form."""
    if not _taken(x):
        return rms_norm(x, weight, dtype)
    y: Tensor = _Norm.apply(x.contiguous(), None, None, None, weight, dtype)  # type: ignore[no-untyped-call]
    return y


def gated_rms_norm_triton(
    y: Tensor, x: Tensor, skip: Tensor, gate: Tensor, weight: Tensor, dtype: torch.dtype
) -> Tensor:
    """Run the kernels; float64 and what is too wide for them takes the plain form."""
    if not _taken(gate) or y.dtype == torch.float64:
        return gated_rms_norm(y, x, skip, gate, weight, dtype)
    parts = (part.contiguous() for part in (y, x, skip, gate, weight))
    out: Tensor = _Norm.apply(*parts, dtype)  # type: ignore[no-untyped-call]
    return out


def _taken(x: Tensor) -> bool:
    if x.shape[-1] > WIDEST:
        tell_fallback(f"a norm of {x.shape[-1]:,} channels", f"up to {WIDEST:,} channels")
    return takes(x)


def takes(x: Tensor) -> bool:
    """Tell whether the kernels take rows of x."""
    return x.dtype != torch.float64 and x.shape[-1] <= WIDEST and x.numel() > 0


class _Norm(torch.autograd.Function):
    """rms((y + skip x) silu(gate)) weight; or rms(y) weight where x, skip and gate are None."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, x: Tensor | None, skip: Tensor | None, gate: Tensor | None, weight: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:  # fmt: skip
        out, inverse = normalise(y, x, skip, gate, weight, dtype)
        ctx.save_for_backward(y, x, skip, gate, weight, inverse)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        y, x, skip, gate, weight, inverse = ctx.saved_tensors
        grad_gate = None if gate is None else torch.empty_like(gate)
        grad_y, grad_x, grad_skip, grad_weight = normalise_back(
            grads[0].contiguous(), y, x, skip, gate, weight, inverse, grad_gate
        )
        return grad_y, grad_x, grad_skip, grad_gate, grad_weight, None


def normalise(
    y: Tensor, x: Tensor | None, skip: Tensor | None, gate: Tensor | None, weight: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Launch the kernel, as `_Norm` says; return also 1 / rms of each row. Rows of gate (B, L, E) may lie apart."""
    rows, sizes = _sizes(y, x, gate, weight)
    out = torch.empty(y.shape if gate is None else gate.shape, dtype=dtype, device=y.device)
    inverse = torch.empty(rows, dtype=torch.float32, device=y.device)
    launcher(_norm)[(rows,)](y, x, skip, gate, weight, out, inverse, EPS, **sizes)
    return out, inverse


def normalise_back(
    grad: Tensor, y: Tensor, x: Tensor | None, skip: Tensor | None, gate: Tensor | None, weight: Tensor,
    inverse: Tensor, grad_gate: Tensor | None, *, at: int = 0, also: Tensor | None = None,
    again: Tensor | None = None,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:  # fmt: skip
    """Write the gradient of the gate to `grad_gate`, whose rows lie as far apart as those of the gate.

    Args:
        at: where in a row of `grad_gate` its columns begin. A view of it would be copied by PyTorch's compiler.
        also: added to the gradient of y.
        again: where what `normalise` gave is written once more.

    Returns:
        Gradients of y, x, skip and weight.
    """
    rows, sizes = _sizes(y, x, gate, weight)
    programs = min(rows, _PROGRAMS)
    grad_y, grad_x = torch.empty_like(y), None if x is None else torch.empty_like(x)
    sums = torch.empty(1 if x is None else 2, programs, weight.shape[0], dtype=torch.float32, device=y.device)
    launcher(_norm_back)[(programs,)](
        grad, y, x, skip, gate, weight, inverse, grad_y, grad_x, grad_gate, also, again, sums, rows,
        **sizes, AT=at, ADD=also is not None, AGAIN=again is not None,
    )  # fmt: skip
    total = sums.sum(dim=1)
    grad_skip = None if skip is None else total[1].view(len(skip), -1).sum(dim=1).to(skip.dtype)
    return grad_y, grad_x, grad_skip, total[0].to(weight.dtype)


def _sizes(y: Tensor, x: Tensor | None, gate: Tensor | None, weight: Tensor) -> tuple[int, dict[str, Any]]:
    """Return the rows, and the arguments of both kernels."""
    width = weight.shape[0]
    block = triton.next_power_of_2(width)
    sizes = {
        "E": width, "P": 1 if x is None else x.shape[-1], "GATED": x is not None,
        "STRIDE": 0 if gate is None else row_stride(gate), "BLOCK": block,
    }  # fmt: skip
    return y.numel() // width, {**sizes, "num_warps": min(8, max(1, block // 256))}


@triton.jit
def _norm(
    y, x, skip, gate, weight, out, inverse, eps, E: tl.constexpr, P: tl.constexpr, GATED: tl.constexpr,
    STRIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    inside, at = column < E, row * E + column
    value = tl.load(y + at, mask=inside, other=0.0).to(tl.float32)
    if GATED:
        value += tl.load(skip + column // P, mask=inside, other=0.0).to(tl.float32) * tl.load(
            x + at, mask=inside, other=0.0
        ).to(tl.float32)
        z = tl.load(gate + row * STRIDE + column, mask=inside, other=0.0).to(tl.float32)
        value *= z * tl.sigmoid(z)
    scale = 1.0 / tl.sqrt(tl.sum(value * value, axis=0) / E + eps)
    tl.store(inverse + row, scale)
    scaled = value * scale * tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + at, scaled.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows"])
def _norm_back(
    grad, y, x, skip, gate, weight, inverse, grad_y, grad_x, grad_gate, also, again, sums, rows,
    E: tl.constexpr, P: tl.constexpr, GATED: tl.constexpr, STRIDE: tl.constexpr, BLOCK: tl.constexpr, AT: tl.constexpr,
    ADD: tl.constexpr, AGAIN: tl.constexpr,
):  # fmt: skip
    """Take every so-manieth row, and add up the gradients of the weights over these."""
    column = tl.arange(0, BLOCK)
    inside = column < E
    factor = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    sum_weight = tl.zeros([BLOCK], dtype=tl.float32)
    sum_skip = tl.zeros([BLOCK], dtype=tl.float32)
    if GATED:
        through = tl.load(skip + column // P, mask=inside, other=0.0).to(tl.float32)
    programs = tl.num_programs(0)
    for count in range(tl.cdiv(rows - tl.program_id(0), programs)):
        row = tl.program_id(0).to(tl.int64) + count * programs
        at = row * E + column
        given = tl.load(grad + at, mask=inside, other=0.0).to(tl.float32)
        value = tl.load(y + at, mask=inside, other=0.0).to(tl.float32)
        scale = tl.load(inverse + row)
        if GATED:
            xs = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
            z = tl.load(gate + row * STRIDE + column, mask=inside, other=0.0).to(tl.float32)
            open_ = tl.sigmoid(z)
            summed = value + through * xs
            value = summed * z * open_
        unit = value * scale
        if AGAIN:
            tl.store(again + at, (unit * factor).to(again.dtype.element_ty), mask=inside)
        sum_weight += given * unit
        given *= factor
        of_value = scale * (given - unit * (tl.sum(given * unit, axis=0) / E))
        if GATED:
            of_gate = of_value * summed * open_ * (1.0 + z * (1.0 - open_))
            tl.store(grad_gate + row * STRIDE + AT + column, of_gate.to(grad_gate.dtype.element_ty), mask=inside)
            of_value *= z * open_
            sum_skip += of_value * xs
            tl.store(grad_x + at, (of_value * through).to(grad_x.dtype.element_ty), mask=inside)
        if ADD:
            of_value += tl.load(also + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(grad_y + at, of_value.to(grad_y.dtype.element_ty), mask=inside)
    at = tl.program_id(0).to(tl.int64) * E + column
    tl.store(sums + at, sum_weight, mask=inside)
    if GATED:
        tl.store(sums + programs.to(tl.int64) * E + at, sum_skip, mask=inside)
