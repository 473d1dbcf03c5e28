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
from hnet_dna.ops.triton_launch import ceil_div, launcher
from hnet_dna.ops.triton_norm import WIDEST, normalise, normalise_back
from hnet_dna.ops.triton_ssd import holds_state, scan, scan_back, tile_of

_T = 64  # positions of a program where no scan says how many


def mamba_layer_triton(
    residual: Tensor, weights: MambaWeights, length: Tensor, past: MambaPast | None, tile: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Run the kernels, or return None where they do not take this: then its parts serve, each as it can.

    With gradients it takes no past, and what it returns for a next piece has none.
    """
    if not takes_mamba(residual, weights, dtype):
        return None
    residual, length = residual.contiguous(), length.contiguous()
    if torch.is_grad_enabled():
        if past is not None:
            return None
        out, projected, last = _Mamba.apply(residual, *weights, length, tile, dtype)  # type: ignore[no-untyped-call]
    else:
        out, last, projected, *_ = mamba_forward(residual, _cast_products(weights, dtype), length, past, tile)
    return out, parts_of(projected, weights)[1], last


def mlp_layer_triton(residual: Tensor, weights: MlpWeights, dtype: torch.dtype) -> Tensor | None:
    """Run the kernels, or return None where they do not take this."""
    if not takes_mlp(residual, weights, dtype):
        return None
    out: Tensor = _Mlp.apply(residual.contiguous(), *weights, dtype)  # type: ignore[no-untyped-call]
    return out


def takes_mamba(residual: Tensor, weights: MambaWeights, dtype: torch.dtype) -> bool:
    """Tell whether the kernels take a layer with such weights and products."""
    inner, state, _ = weights.widths
    return (
        _takes(residual, dtype, inner) and weights.conv.shape[1] == TAPS and holds_state(state, inner // weights.heads)
    )


def takes_mlp(residual: Tensor, weights: MlpWeights, dtype: torch.dtype) -> bool:
    """Tell whether the kernels take an MLP with such weights and products."""
    return _takes(residual, dtype, weights.fc2.shape[1])


def _takes(residual: Tensor, dtype: torch.dtype, inner: int) -> bool:
    small = max(inner, residual.shape[-1]) <= WIDEST
    return residual.dtype == torch.float32 and dtype != torch.float64 and small and residual.numel() > 0


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


def parts_of(projected: Tensor, weights: MambaWeights) -> tuple[Tensor, Tensor, Tensor]:
    """Return views of gate, what the convolution reads, and steps before softplus."""
    gate, xbc, raw = torch.split(projected, [weights.widths[0], len(weights.conv), weights.heads], dim=-1)
    return gate, xbc, raw


def mamba_forward(
    residual: Tensor, weights: MambaWeights, length: Tensor, past: MambaPast | None, tile: int
) -> tuple[Tensor, ...]:
    """Run a layer whose products are of the dtype of `weights.in_proj` and `weights.out_proj`.

    Returns:
        The residual stream, the last state, and what `mamba_backward` needs: projections, steps, rates, what the scan
        gave, and both 1 / rms.
    """
    dtype = weights.in_proj.dtype
    u, inverse = normalise(residual, None, None, None, weights.norm, dtype)
    projected = _product(u, weights.in_proj)
    gate, xbc, raw = parts_of(projected, weights)
    conv, ssm = (None, None) if past is None else (past.conv.to(dtype).contiguous(), past.ssm.float().contiguous())
    x, b, c = convolve(conv, xbc, weights.conv.contiguous(), weights.conv_bias, weights.widths)
    dt, decay = _steps_of(raw, weights, length)
    x = x.view(*x.shape[:2], weights.heads, -1)
    y, last = scan(x, dt, decay, b, c, ssm, tile)
    out, gated = normalise(y, x, weights.skip, gate, weights.gated_norm, dtype)
    return residual + _product(out, weights.out_proj), last, projected, dt, decay, y, inverse, gated


def mamba_backward(
    grad: Tensor, residual: Tensor, weights: MambaWeights, length: Tensor, tile: int, projected: Tensor, dt: Tensor,
    decay: Tensor, y: Tensor, inverse: Tensor, gated: Tensor,
) -> tuple[Tensor, MambaWeights]:  # fmt: skip
    """Return the gradients of the residual stream and of the weights, from that of the new residual stream."""
    gate, xbc, raw = parts_of(projected, weights)
    inner, channels, _ = gate.shape[-1], xbc.shape[-1], raw.shape[-1]
    grad_projected = torch.empty_like(projected)
    with torch.autocast(residual.device.type, enabled=False):
        grad = grad.contiguous()
        low = grad.to(projected.dtype)
        conv = weights.conv.contiguous()
        x, b, c = convolve(None, xbc, conv, weights.conv_bias, weights.widths)
        x = x.view(*x.shape[:2], weights.heads, -1)
        out = y.new_empty(*y.shape[:2], inner)
        of_y, of_x, of_skip, of_gated_norm = normalise_back(
            _product(low, weights.out_proj.t()), y, x, weights.skip, gate, weights.gated_norm, gated, grad_projected,
            again=out,
        )  # fmt: skip
        of_out = _product_back(low, out)
        assert of_x is not None
        assert of_skip is not None
        of_dt, of_decay, of_b, of_c, _ = scan_back(x, dt, decay, b, c, None, tile, of_y, None, of_x, add=True)
        given = (of_x.flatten(-2), of_b, of_c)
        _, of_conv, of_conv_bias = convolve_back(
            None, xbc, conv, weights.conv_bias, weights.widths, given, grad_projected, at=inner
        )
        of_dt_bias, of_a_log = _steps_back_of(
            raw, weights, length, decay, of_dt, of_decay, grad_projected, inner + channels, tile_of(x, b, tile)
        )
        u = torch.empty_like(residual, dtype=projected.dtype)
        of_residual, _, _, of_norm = normalise_back(
            _product(grad_projected, weights.in_proj.t()), residual, None, None, None, weights.norm, inverse, None,
            also=grad, again=u,
        )  # fmt: skip
        of_in = _product_back(grad_projected, u)
    return of_residual, MambaWeights(
        of_norm, of_in, of_conv, of_conv_bias, of_dt_bias, of_a_log, of_skip, of_gated_norm, of_out
    )


def _steps_of(raw: Tensor, weights: MambaWeights, length: Tensor) -> tuple[Tensor, Tensor]:
    """Return dt (B, L, H) and decay (H,) of a scan."""
    batch, positions, heads = raw.shape
    dt = torch.empty(batch, positions, heads, dtype=torch.float32, device=raw.device)
    decay = torch.empty(heads, dtype=torch.float32, device=raw.device)
    launcher(_steps)[(batch * ceil_div(positions, _T),)](
        raw, weights.dt_bias, weights.a_log, length, dt, decay, positions,
        H=heads, STRIDE=row_stride(raw), T=_T, BH=triton.next_power_of_2(heads), num_warps=4,
    )  # fmt: skip
    return dt, decay


class _Mamba(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, residual: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
        weights, (length, tile, dtype) = MambaWeights(*rest[:-3]), rest[-3:]
        low = _cast_products(weights, dtype)
        out, last, projected, *kept = mamba_forward(residual, low, length, None, tile)
        ctx.save_for_backward(residual, *low, length, projected, *kept)
        ctx.tile, ctx.dtype = tile, weights.in_proj.dtype
        ctx.mark_non_differentiable(projected, last)
        ctx.set_materialize_grads(False)  # of these two they would be zeros
        return out, projected, last

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        residual, *saved = ctx.saved_tensors
        weights, (length, *kept) = MambaWeights(*saved[:9]), saved[9:]
        of_residual, of_weights = mamba_backward(grads[0], residual, weights, length, ctx.tile, *kept)
        return (of_residual, *_cast_products(of_weights, ctx.dtype), None, None, None)


def _cast_products(weights: MambaWeights, dtype: torch.dtype) -> MambaWeights:
    """Return weights, or their gradients, with the two large ones in another dtype."""
    in_proj, out_proj = _cast([weights.in_proj, weights.out_proj], dtype)
    return weights._replace(in_proj=in_proj, out_proj=out_proj)


def _steps_back_of(
    raw: Tensor, weights: MambaWeights, length: Tensor, decay: Tensor, of_dt: Tensor, of_decay: Tensor,
    grad_projected: Tensor, at: int, tile: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Write the gradient of the steps before softplus to columns of `grad_projected`, which begin at `at`.

    Returns:
        Gradients of the bias of the steps, and of a_log.
    """
    batch, positions, heads = raw.shape
    tiles = batch * ceil_div(positions, tile)
    sums = torch.empty(tiles, 2, heads, dtype=torch.float32, device=raw.device)
    launcher(_steps_back)[(tiles,)](
        raw, weights.dt_bias, length, decay, of_dt, of_decay, grad_projected, sums, positions,
        H=heads, STRIDE=row_stride(raw), T=tile, BH=triton.next_power_of_2(heads), AT=at, num_warps=4,
    )  # fmt: skip
    of_bias, of_a_log = sums.sum(dim=0).unbind(0)
    return of_bias.to(weights.dt_bias.dtype), of_a_log.to(weights.a_log.dtype)


def mlp_forward(residual: Tensor, weights: MlpWeights) -> tuple[Tensor, Tensor, Tensor]:
    """Run an MLP whose products are of the dtype of `weights.fc1` and `weights.fc2`.

    Returns:
        The residual stream, and what `mlp_backward` needs: 1 / rms, and the first product.
    """
    u, inverse = normalise(residual, None, None, None, weights.norm, weights.fc1.dtype)
    both = _product(u, weights.fc1)
    hidden = both.new_empty(*both.shape[:2], both.shape[2] // 2)
    launcher(_swiglu)[(both.shape[0] * both.shape[1],)](both, hidden, **_swiglu_sizes(hidden))
    return residual + _product(hidden, weights.fc2), inverse, both


def mlp_backward(
    grad: Tensor, residual: Tensor, weights: MlpWeights, inverse: Tensor, both: Tensor
) -> tuple[Tensor, MlpWeights]:
    """Return the gradients of the residual stream and of the weights, from that of the new residual stream."""
    with torch.autocast(residual.device.type, enabled=False):
        grad = grad.contiguous()
        low = grad.to(both.dtype)
        of_hidden, of_both = _product(low, weights.fc2.t()), torch.empty_like(both)
        hidden = torch.empty_like(of_hidden)
        launcher(_swiglu_back)[(both.shape[0] * both.shape[1],)](
            both, of_hidden, of_both, hidden, **_swiglu_sizes(hidden)
        )
        u = torch.empty_like(residual, dtype=both.dtype)
        of_residual, _, _, of_norm = normalise_back(
            _product(of_both, weights.fc1.t()), residual, None, None, None, weights.norm, inverse, None,
            also=grad, again=u,
        )  # fmt: skip
        return of_residual, MlpWeights(of_norm, _product_back(of_both, u), _product_back(low, hidden))


class _Mlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, residual: Tensor, norm: Tensor, fc1: Tensor, fc2: Tensor, dtype: torch.dtype) -> Tensor:
        low = MlpWeights(norm, *_cast([fc1, fc2], dtype))
        out, inverse, both = mlp_forward(residual, low)
        ctx.save_for_backward(residual, *low, inverse, both)
        ctx.dtype = fc1.dtype
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        residual, norm, low1, low2, inverse, both = ctx.saved_tensors
        of_residual, of = mlp_backward(grads[0], residual, MlpWeights(norm, low1, low2), inverse, both)
        return of_residual, of.norm, *_cast([of.fc1, of.fc2], ctx.dtype), None


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
    raw, bias, length, decay, of_dt, of_decay, grad_projected, sums, L, H: tl.constexpr, STRIDE: tl.constexpr,
    T: tl.constexpr, BH: tl.constexpr, AT: tl.constexpr,
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
    low = given.to(grad_projected.dtype.element_ty)
    tl.store(grad_projected + row[:, None] * STRIDE + (AT + head[None, :]), low, mask=inside)
    tile = tl.program_id(0).to(tl.int64)
    of_a_log = tl.load(of_decay + tile * H + head, mask=in_h, other=0.0) * tl.load(decay + head, mask=in_h, other=0.0)
    tl.store(sums + tile * 2 * H + head, tl.sum(given, axis=0), mask=in_h)
    tl.store(sums + tile * 2 * H + H + head, of_a_log, mask=in_h)
