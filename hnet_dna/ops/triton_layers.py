"""Whole parts of layers on an NVIDIA GPU: our kernels and PyTorch's products in a row, with one backward pass for all.

Plain forms and weights: `hnet_dna.ops.layers`. Beside the kernels one by one, no weight is cast twice, parts of one
product stay in its memory (kernels skip from row to row), and their gradients are written to where the gradient of
that product lies. Of a Mamba-2 mixer the input, the projections, steps and what the scan gave are kept for the backward
pass; of an MLP its input and its first product. Norms, the convolution, gates and states are computed anew.

Shapes in comments: T positions of a program.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from hnet_dna.ops.fallback import row_stride
from hnet_dna.ops.layers import MambaPast, MambaWeights, MlpWeights
from hnet_dna.ops.triton_conv import TAPS, convolve, convolve_back
from hnet_dna.ops.triton_norm import WIDEST, normalise, normalise_back
from hnet_dna.ops.triton_ssd import holds_state, scan, scan_back, tile_of

_T = 64  # positions of a program where no scan says how many


def mamba_layer_triton(
    residual: Tensor, weights: MambaWeights, length: Tensor, past: MambaPast | None, tile: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Run the kernels, or return None where they do not take this: then its parts serve, each as it can.

    With gradients it takes no past, and what it returns for a next piece has none.
    """
    inner, state, _ = weights.widths
    if (
        residual.dtype != torch.float32
        or dtype == torch.float64
        or not residual.numel()
        or weights.conv.shape[1] != TAPS
        or not holds_state(state, inner // weights.heads)
        or max(inner, residual.shape[-1]) > WIDEST
    ):
        return None
    residual, length = residual.contiguous(), length.contiguous()
    if torch.is_grad_enabled():
        if past is not None:
            return None
        out, projected, last = _Mamba.apply(residual, *weights, length, tile, dtype)  # type: ignore[no-untyped-call]
    else:
        low_in, low_out = _cast([weights.in_proj, weights.out_proj], dtype)
        out, projected, _, _, last, *_ = _mamba(residual, weights, low_in, low_out, length, past, tile, dtype)
    return out, _parts(projected, weights)[1], last


def mlp_layer_triton(residual: Tensor, weights: MlpWeights, dtype: torch.dtype) -> Tensor | None:
    """Run the kernels, or return None where they do not take this."""
    width = max(residual.shape[-1], weights.fc2.shape[1])
    if residual.dtype != torch.float32 or dtype == torch.float64 or not residual.numel() or width > WIDEST:
        return None
    out: Tensor = _Mlp.apply(residual.contiguous(), *weights, dtype)  # type: ignore[no-untyped-call]
    return out


def _product(x: Tensor, weight: Tensor) -> Tensor:
    """Return x (B, L, I) times weight (O, I) transposed, (B, L, O)."""
    return torch.mm(x.flatten(0, 1), weight.t()).view(*x.shape[:2], -1)


def _product_back(grad: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of a weight from that of the product (B, L, O) and its input (B, L, I)."""
    return torch.mm(grad.flatten(0, 1).t(), x.flatten(0, 1))


def _cast(weights: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Return tensors of one dtype in another, by one launch."""
    if weights[0].dtype == dtype:
        return weights
    converted = [torch.empty_like(weight, dtype=dtype) for weight in weights]
    torch._foreach_copy_(converted, weights)
    return converted


def _parts(projected: Tensor, weights: MambaWeights) -> tuple[Tensor, Tensor, Tensor]:
    """Return views of gate, what the convolution reads, and steps before softplus."""
    gate, xbc, raw = torch.split(projected, [weights.widths[0], len(weights.conv), weights.heads], dim=-1)
    return gate, xbc, raw


def _mamba(
    residual: Tensor, weights: MambaWeights, low_in: Tensor, low_out: Tensor, length: Tensor,
    past: MambaPast | None, tile: int, dtype: torch.dtype,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Return the residual stream, projections, steps, rates, last state, output of the scan, and both 1 / rms."""
    u, inverse = normalise(residual, None, None, None, weights.norm, dtype)
    projected = _product(u, low_in)
    gate, xbc, raw = _parts(projected, weights)
    conv, ssm = (None, None) if past is None else (past.conv.to(dtype).contiguous(), past.ssm.float().contiguous())
    x, b, c = convolve(conv, xbc, weights.conv.contiguous(), weights.conv_bias, weights.widths)
    dt, decay = _steps_of(raw, weights, length)
    x = x.view(*x.shape[:2], weights.heads, -1)
    y, last = scan(x, dt, decay, b, c, ssm, tile)
    out, gated = normalise(y, x, weights.skip, gate, weights.gated_norm, dtype)
    return residual + _product(out, low_out), projected, dt, decay, last, y, inverse, gated


def _steps_of(raw: Tensor, weights: MambaWeights, length: Tensor) -> tuple[Tensor, Tensor]:
    """Return dt (B, L, H) and decay (H,) of a scan."""
    batch, positions, heads = raw.shape
    dt = torch.empty(batch, positions, heads, dtype=torch.float32, device=raw.device)
    decay = torch.empty(heads, dtype=torch.float32, device=raw.device)
    _steps[(batch * triton.cdiv(positions, _T),)](
        raw, weights.dt_bias, weights.a_log, length, dt, decay, positions,
        H=heads, STRIDE=row_stride(raw), T=_T, BH=triton.next_power_of_2(heads), num_warps=4,
    )  # fmt: skip
    return dt, decay


class _Mamba(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, residual: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
        weights, (length, tile, dtype) = MambaWeights(*rest[:-3]), rest[-3:]
        low_in, low_out = _cast([weights.in_proj, weights.out_proj], dtype)
        out, projected, dt, decay, last, *kept = _mamba(residual, weights, low_in, low_out, length, None, tile, dtype)
        ctx.save_for_backward(residual, *weights, length, low_in, low_out, projected, dt, decay, *kept)
        ctx.tile = tile
        ctx.mark_non_differentiable(projected, last)
        ctx.set_materialize_grads(False)  # of these two they would be zeros
        return out, projected, last

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        residual, *saved = ctx.saved_tensors
        weights = MambaWeights(*saved[:9])
        length, low_in, low_out, projected, dt, decay, y, inverse, gated = saved[9:]
        (gate, xbc, raw), dtype = _parts(projected, weights), projected.dtype
        grad_projected = torch.empty_like(projected)
        of_gate, of_xbc, of_raw = _parts(grad_projected, weights)
        with torch.autocast(residual.device.type, enabled=False):
            grad = grads[0].contiguous()
            low = grad.to(dtype)
            conv = weights.conv.contiguous()
            x, b, c = convolve(None, xbc, conv, weights.conv_bias, weights.widths)
            x = x.view(*x.shape[:2], weights.heads, -1)
            out = torch.empty_like(y).flatten(-2)
            of_y, of_x, of_skip, of_gated_norm = normalise_back(
                _product(low, low_out.t()), y, x, weights.skip, gate, weights.gated_norm, gated, of_gate, again=out
            )
            of_out = _product_back(low, out)
            assert of_x is not None
            of_dt, of_decay, of_b, of_c, _ = scan_back(x, dt, decay, b, c, None, ctx.tile, of_y, None, of_x, add=True)
            given = (of_x.flatten(-2), of_b, of_c)
            _, of_conv, of_conv_bias = convolve_back(None, xbc, conv, weights.conv_bias, weights.widths, given, of_xbc)
            of_dt_bias, of_a_log = _steps_back_of(raw, weights, length, decay, of_dt, of_decay, of_raw, x, b, ctx.tile)
            u = torch.empty_like(residual, dtype=dtype)
            of_residual, _, _, of_norm = normalise_back(
                _product(grad_projected, low_in.t()), residual, None, None, None, weights.norm, inverse, None,
                also=grad, again=u,
            )  # fmt: skip
            of_in, of_out = _cast([_product_back(grad_projected, u), of_out], weights.in_proj.dtype)
        return (
            of_residual, of_norm, of_in, of_conv, of_conv_bias, of_dt_bias, of_a_log, of_skip, of_gated_norm, of_out,
            None, None, None,
        )  # fmt: skip


def _steps_back_of(
    raw: Tensor, weights: MambaWeights, length: Tensor, decay: Tensor, of_dt: Tensor, of_decay: Tensor, of_raw: Tensor,
    x: Tensor, b: Tensor, tile: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Write the gradient of the steps before softplus to `of_raw`; return those of their bias and of a_log."""
    batch, positions, heads = raw.shape
    size = tile_of(x, b, tile)
    sums = torch.empty(batch * triton.cdiv(positions, size), 2, heads, dtype=torch.float32, device=raw.device)
    _steps_back[(len(sums),)](
        raw, weights.dt_bias, length, decay, of_dt, of_decay, of_raw, sums, positions,
        H=heads, STRIDE=row_stride(raw), T=size, BH=triton.next_power_of_2(heads), num_warps=4,
    )  # fmt: skip
    of_bias, of_a_log = sums.sum(dim=0).unbind(0)
    return of_bias.to(weights.dt_bias.dtype), of_a_log.to(weights.a_log.dtype)


class _Mlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, residual: Tensor, norm: Tensor, fc1: Tensor, fc2: Tensor, dtype: torch.dtype) -> Tensor:
        low1, low2 = _cast([fc1, fc2], dtype)
        u, inverse = normalise(residual, None, None, None, norm, dtype)
        both = _product(u, low1)
        hidden = both.new_empty(*both.shape[:2], both.shape[2] // 2)
        _swiglu[(both.shape[0] * both.shape[1],)](both, hidden, **_swiglu_sizes(hidden))
        ctx.save_for_backward(residual, norm, fc1, fc2, low1, low2, inverse, both)
        return residual + _product(hidden, low2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        residual, norm, fc1, _, low1, low2, inverse, both = ctx.saved_tensors
        with torch.autocast(residual.device.type, enabled=False):
            grad = grads[0].contiguous()
            low = grad.to(both.dtype)
            of_hidden, of_both = _product(low, low2.t()), torch.empty_like(both)
            hidden = torch.empty_like(of_hidden)
            _swiglu_back[(both.shape[0] * both.shape[1],)](both, of_hidden, of_both, hidden, **_swiglu_sizes(hidden))
            u = torch.empty_like(residual, dtype=both.dtype)
            of_residual, _, _, of_norm = normalise_back(
                _product(of_both, low1.t()), residual, None, None, None, norm, inverse, None, also=grad, again=u
            )
            of_fc1, of_fc2 = _cast([_product_back(of_both, u), _product_back(low, hidden)], fc1.dtype)
        return of_residual, of_norm, of_fc1, of_fc2, None


def _swiglu_sizes(hidden: Tensor) -> dict[str, Any]:
    block = triton.next_power_of_2(hidden.shape[-1])
    return {"F": hidden.shape[-1], "BLOCK": block, "num_warps": min(8, max(1, block // 256))}


@triton.jit
def _swiglu(both, hidden, F: tl.constexpr, BLOCK: tl.constexpr):
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    inside = column < F
    value = tl.load(both + row * 2 * F + column, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(both + row * 2 * F + F + column, mask=inside, other=0.0).to(tl.float32)
    result = value * gate * tl.sigmoid(gate)
    tl.store(hidden + row * F + column, result.to(hidden.dtype.element_ty), mask=inside)


@triton.jit
def _swiglu_back(both, of_hidden, of_both, hidden, F: tl.constexpr, BLOCK: tl.constexpr):
    """Write the gradients of value and gate, and once more what both make."""
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    inside = column < F
    value = tl.load(both + row * 2 * F + column, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(both + row * 2 * F + F + column, mask=inside, other=0.0).to(tl.float32)
    given = tl.load(of_hidden + row * F + column, mask=inside, other=0.0).to(tl.float32)
    open_ = tl.sigmoid(gate)
    tl.store(hidden + row * F + column, (value * gate * open_).to(hidden.dtype.element_ty), mask=inside)
    of_gate = given * value * open_ * (1.0 + gate * (1.0 - open_))
    tl.store(of_both + row * 2 * F + column, (given * gate * open_).to(of_both.dtype.element_ty), mask=inside)
    tl.store(of_both + row * 2 * F + F + column, of_gate.to(of_both.dtype.element_ty), mask=inside)


@triton.jit
def _softplus(x):
    """Return log(1 + exp(x)) with all its digits where exp(x) is small: log(w) / (w - 1) is exact for the rounded w."""
    small = tl.exp(tl.minimum(x, 20.0))
    w = 1.0 + small
    return tl.where(x > 20.0, x, tl.where(w == 1.0, small, tl.log(w) * (small / tl.where(w == 1.0, 1.0, w - 1.0))))


@triton.jit(do_not_specialize=["L"])
def _steps(
    raw, bias, a_log, length, dt, decay, L, H: tl.constexpr, STRIDE: tl.constexpr, T: tl.constexpr, BH: tl.constexpr
):
    blocks = tl.cdiv(L, T)
    sequence = (tl.program_id(0) // blocks).to(tl.int64)
    position, head = (tl.program_id(0) % blocks) * T + tl.arange(0, T), tl.arange(0, BH)
    row, in_h = sequence * L + position, head < H
    inside = (position < L)[:, None] & in_h[None, :]
    x = tl.load(raw + row[:, None] * STRIDE + head[None, :], mask=inside, other=0.0).to(tl.float32)
    x += tl.load(bias + head, mask=in_h, other=0.0).to(tl.float32)[None, :]
    step = tl.where((position < tl.load(length + sequence))[:, None], _softplus(x), 0.0)
    tl.store(dt + row[:, None] * H + head[None, :], step, mask=inside)
    if tl.program_id(0) == 0:
        tl.store(decay + head, -tl.exp(tl.load(a_log + head, mask=in_h, other=0.0).to(tl.float32)), mask=in_h)


@triton.jit(do_not_specialize=["L"])
def _steps_back(
    raw, bias, length, decay, of_dt, of_decay, of_raw, sums, L, H: tl.constexpr, STRIDE: tl.constexpr,
    T: tl.constexpr, BH: tl.constexpr,
):  # fmt: skip
    """Take the positions of one tile of the scan; what it adds to the gradients of bias and a_log goes to `sums`."""
    blocks = tl.cdiv(L, T)
    sequence = (tl.program_id(0) // blocks).to(tl.int64)
    position, head = (tl.program_id(0) % blocks) * T + tl.arange(0, T), tl.arange(0, BH)
    row, in_h = sequence * L + position, head < H
    inside = (position < L)[:, None] & in_h[None, :]
    x = tl.load(raw + row[:, None] * STRIDE + head[None, :], mask=inside, other=0.0).to(tl.float32)
    x += tl.load(bias + head, mask=in_h, other=0.0).to(tl.float32)[None, :]
    given = tl.load(of_dt + row[:, None] * H + head[None, :], mask=inside, other=0.0) * tl.sigmoid(x)
    given = tl.where((position < tl.load(length + sequence))[:, None], given, 0.0)
    tl.store(of_raw + row[:, None] * STRIDE + head[None, :], given.to(of_raw.dtype.element_ty), mask=inside)
    tile = tl.program_id(0).to(tl.int64)
    of_a_log = tl.load(of_decay + tile * H + head, mask=in_h, other=0.0) * tl.load(decay + head, mask=in_h, other=0.0)
    tl.store(sums + tile * 2 * H + head, tl.sum(given, axis=0), mask=in_h)
    tl.store(sums + tile * 2 * H + H + head, of_a_log, mask=in_h)
