"""Parts of layers as operators of PyTorch, so that its compiler takes them into a graph whole, kernels and all.

Registered when this is imported, which is done only for `train.compile`: the forward and backward functions of
`hnet_dna.ops.triton_layers` and of the norm, with nothing decided by data. The compiler sees the kernels and products
inside, joins what lies between them (casts, sums, residual adds), and launches all without Python. Weights of products
come in the dtype of the products: the cast is the graph's.

Shapes: `hnet_dna.ops.layers`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

from hnet_dna.ops.layers import MambaPast, MambaWeights, MlpWeights
from hnet_dna.ops.triton_conv import TAPS
from hnet_dna.ops.triton_launch import seen_by_compiler
from hnet_dna.ops.triton_layers import (
    mamba_backward,
    mamba_forward,
    mlp_backward,
    mlp_forward,
    parts_of,
    takes_mamba,
    takes_mlp,
)
from hnet_dna.ops.triton_norm import normalise, normalise_back, takes

_Weights = TypeVar("_Weights", MambaWeights, MlpWeights)


def _own(weights: _Weights) -> _Weights:
    """Return gradients none of which is a view of sums that another is a view of too: operators may not return such."""
    views = [weight.ndim == 1 or weight.shape[1] == TAPS for weight in weights]
    return type(weights)(*(w.clone() if view else w for w, view in zip(weights, views, strict=True)))


@torch.library.triton_op("hnet_dna::mamba_layer", mutates_args=())
def mamba_layer(
    residual: Tensor, norm: Tensor, in_proj: Tensor, conv: Tensor, conv_bias: Tensor, dt_bias: Tensor, a_log: Tensor,
    skip: Tensor, gated_norm: Tensor, out_proj: Tensor, length: Tensor, tile: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return what `mamba_forward` does."""
    weights = MambaWeights(norm, in_proj, conv, conv_bias, dt_bias, a_log, skip, gated_norm, out_proj)
    with seen_by_compiler():
        out, last, projected, dt, decay, y, inverse, gated = mamba_forward(residual, weights, length, None, tile)
    return out, last, projected, dt, decay, y, inverse, gated


@torch.library.triton_op("hnet_dna::mamba_layer_back", mutates_args=())
def mamba_layer_back(
    grad: Tensor, residual: Tensor, norm: Tensor, in_proj: Tensor, conv: Tensor, conv_bias: Tensor, dt_bias: Tensor,
    a_log: Tensor, skip: Tensor, gated_norm: Tensor, out_proj: Tensor, length: Tensor, projected: Tensor, dt: Tensor,
    decay: Tensor, y: Tensor, inverse: Tensor, gated: Tensor, tile: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return the gradients of the residual stream and of the weights."""
    weights = MambaWeights(norm, in_proj, conv, conv_bias, dt_bias, a_log, skip, gated_norm, out_proj)
    with seen_by_compiler():
        of_residual, of_weights = mamba_backward(
            grad, residual, weights, length, tile, projected, dt, decay, y, inverse, gated
        )
    return (of_residual, *_own(of_weights))


def _keep_mamba(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.tile = inputs
    ctx.save_for_backward(*tensors, *output[2:])


def _mamba_back(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    return (*mamba_layer_back(grad, *ctx.saved_tensors, ctx.tile), None, None)


mamba_layer.register_autograd(_mamba_back, setup_context=_keep_mamba)


@torch.library.triton_op("hnet_dna::mlp_layer", mutates_args=())
def mlp_layer(residual: Tensor, norm: Tensor, fc1: Tensor, fc2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `mlp_forward` does."""
    with seen_by_compiler():
        return mlp_forward(residual, MlpWeights(norm, fc1, fc2))


@torch.library.triton_op("hnet_dna::mlp_layer_back", mutates_args=())
def mlp_layer_back(
    grad: Tensor, residual: Tensor, norm: Tensor, fc1: Tensor, fc2: Tensor, inverse: Tensor, both: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of the residual stream and of the weights."""
    with seen_by_compiler():
        of_residual, of_weights = mlp_backward(grad, residual, MlpWeights(norm, fc1, fc2), inverse, both)
    return (of_residual, *_own(of_weights))


def _keep_mlp(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs, *output[1:])


def _mlp_back(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
    of: tuple[Tensor, ...] = mlp_layer_back(grad, *ctx.saved_tensors)
    return of


mlp_layer.register_autograd(_mlp_back, setup_context=_keep_mlp)


@torch.library.triton_op("hnet_dna::rms_norm", mutates_args=())
def rms_norm(x: Tensor, weight: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return what `normalise` does."""
    with seen_by_compiler():
        return normalise(x, None, None, None, weight, dtype)


@torch.library.triton_op("hnet_dna::rms_norm_back", mutates_args=())
def rms_norm_back(grad: Tensor, x: Tensor, weight: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of x and weight."""
    with seen_by_compiler():
        of_x, _, _, of_weight = normalise_back(grad.contiguous(), x, None, None, None, weight, inverse, None)
    return of_x, of_weight.clone()


def _keep_norm(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:2], output[1])


def _norm_back(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    return (*rms_norm_back(grad, *ctx.saved_tensors), None)


rms_norm.register_autograd(_norm_back, setup_context=_keep_norm)


# What the ops of `hnet_dna.ops.serve` are to the compiler; None where the kernels do not take the input.


def _mamba(
    residual: Tensor, weights: MambaWeights, length: Tensor, past: MambaPast | None, tile: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor] | None:
    if past is not None or not takes_mamba(residual, weights, dtype):
        return None
    low = weights._replace(in_proj=weights.in_proj.to(dtype), out_proj=weights.out_proj.to(dtype))
    out, last, projected, *_ = mamba_layer(residual.contiguous(), *low, length.contiguous(), tile)
    return out, parts_of(projected, weights)[1], last


def _mlp(residual: Tensor, weights: MlpWeights, dtype: torch.dtype) -> Tensor | None:
    if not takes_mlp(residual, weights, dtype):
        return None
    out: Tensor = mlp_layer(residual.contiguous(), weights.norm, weights.fc1.to(dtype), weights.fc2.to(dtype))[0]
    return out


def _norm(x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor | None:
    return rms_norm(x.contiguous(), weight, dtype)[0] if takes(x) else None


OPERATORS = {"mamba_layer": _mamba, "mlp_layer": _mlp, "rms_norm": _norm}
