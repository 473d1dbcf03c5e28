"""Parts of a layer with all that lies around them: the residual stream plus what a part makes of its norm.

A backend may have such a part as one op (`mamba_layer`, `mlp_layer` of `hnet_dna.ops.backend.Backend`): then there is
one product where weights of one matrix meet one input, and the backward pass computes anew what is cheap (norm,
convolution, gates) where autograd would keep it. Here are the weights of each, and its plain form.

Shapes: B batch, L positions, D width, E inner width, H heads, P head width, N state size, C = E + 2N, F an MLP's width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hnet_dna.ops.conv import causal_conv_silu_reference
from hnet_dna.ops.norm import gated_rms_norm_reference, rms_norm_reference, swiglu_reference
from hnet_dna.ops.precision import at_least_float32
from hnet_dna.ops.ssd import ssd_scan_reference


class MambaWeights(NamedTuple):
    """Weights of a Mamba-2 mixer and of the norm before it.

    `norm` (D,), `in_proj` (E + C + H, D), `conv` (C, K), `conv_bias` (C,), `dt_bias`, `a_log` and `skip` (H,),
    `gated_norm` (E,), `out_proj` (D, E).
    """

    norm: Tensor
    in_proj: Tensor
    conv: Tensor
    conv_bias: Tensor
    dt_bias: Tensor
    a_log: Tensor
    skip: Tensor
    gated_norm: Tensor
    out_proj: Tensor

    @property
    def heads(self) -> int:
        """H."""
        return self.dt_bias.shape[0]

    @property
    def widths(self) -> list[int]:
        """What the convolution is split into: inputs of the scan E, and its maps N and N."""
        inner = self.out_proj.shape[1]
        state = (self.conv.shape[0] - inner) // 2
        return [inner, state, state]


class MlpWeights(NamedTuple):
    """Weights of an MLP and of the norm before it: `norm` (D,), `fc1` (2F, D), values first, `fc2` (D, F)."""

    norm: Tensor
    fc1: Tensor
    fc2: Tensor


class MambaPast(NamedTuple):
    """What came before: the last inputs of the convolution (B, K-1, C), and the scan's state (B, N, H, P)."""

    conv: Tensor
    ssm: Tensor


def mamba_layer_reference(
    residual: Tensor, weights: MambaWeights, length: Tensor, past: MambaPast | None, tile: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Follow the definition, the products in `dtype`, all else in float32 or better.

    Args:
        residual: (B, L, D) in float32 or better.
        weights: of the layer.
        length: (B,) valid positions of each row; the state stays as it is at those beyond.
        past: None at the start of the sequences.
        tile: as `ssd_scan` takes it.
        dtype: of products.

    Returns:
        (B, L, D) as `residual`; what the convolution read (B, L, C); and the scan's state after each row.
    """
    batch, positions, _ = residual.shape
    inner, state, _ = weights.widths
    heads, channels = weights.heads, len(weights.conv)
    u = rms_norm_reference(residual, weights.norm, dtype)
    projected = F.linear(u, weights.in_proj.to(dtype))
    gate, xbc, raw = torch.split(projected, [inner, channels, heads], dim=-1)
    if past is None:
        past = MambaPast(
            xbc.new_zeros(batch, weights.conv.shape[1] - 1, channels),
            at_least_float32(xbc.new_zeros(batch, state, heads, inner // heads)),
        )
    x, b, c = causal_conv_silu_reference(past.conv.to(dtype), xbc, weights.conv, weights.conv_bias, weights.widths)
    x = x.reshape(batch, positions, heads, -1)
    dt = F.softplus(at_least_float32(raw) + weights.dt_bias)
    dt = dt * (torch.arange(positions, device=dt.device) < length[:, None])[..., None]
    y, last = ssd_scan_reference(x, dt, -torch.exp(at_least_float32(weights.a_log)), b, c, past.ssm, tile)
    out = gated_rms_norm_reference(y.to(dtype), x, weights.skip, gate, weights.gated_norm, dtype)
    return residual + F.linear(out, weights.out_proj.to(dtype)), xbc, last


def mlp_layer_reference(residual: Tensor, weights: MlpWeights, dtype: torch.dtype) -> Tensor:
    """Follow the definition for residual (B, L, D), the products in `dtype`."""
    u = rms_norm_reference(residual, weights.norm, dtype)
    value, gate = F.linear(u, weights.fc1.to(dtype)).chunk(2, dim=-1)
    return residual + F.linear(swiglu_reference(value, gate), weights.fc2.to(dtype))
