"""The moving average that smooths chunks back to positions: the plain loop, and the tiled form.

The signature is documented at `hnet_dna.ops.serve.ema_scan`. The decay is exp(-log(1 / (1 - p))) with the logarithm
taken in float32, as the reference implementation does, so that both agree to the last digits also in float64.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hnet_dna.ops.tile_scan import decay_between, tile_scan

_TILE = 64


def ema_scan_reference(z: Tensor, p: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Follow the recurrence one chunk at a time."""
    keep = torch.exp(-_rate(z, p))
    p = p.to(z.dtype)
    outs = []
    for j in range(z.shape[1]):
        state = p[:, j, None] * z[:, j] + keep[:, j, None] * state
        outs.append(state)
    return (torch.stack(outs, dim=1) if outs else z), state


def ema_scan_chunked(z: Tensor, p: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Apply the average within tiles as one (tile x tile) matrix, and carry the last value from tile to tile."""
    batch, length, width = z.shape
    if length == 0:
        return z, state
    rate, p = _rate(z, p), p.to(z.dtype)
    tile = min(_TILE, length)
    tiles = -(-length // tile)
    if padding := tiles * tile - length:
        z = F.pad(z, (0, 0, 0, padding))
        rate, p = F.pad(rate, (0, padding)), F.pad(p, (0, padding))
    z = z.reshape(batch, tiles, tile, width)
    rate = -rate.reshape(batch, tiles, tile)
    weights = decay_between(rate) * p.reshape(batch, tiles, 1, tile)  # (B, tiles, i, j)
    local = weights @ z
    gain = torch.exp(torch.cumsum(rate, dim=2))
    before, last = tile_scan(gain[:, :, -1:], local[:, :, -1, None, None, :], state[:, None, None, :])
    out = local + gain[..., None] * before[:, :, 0]
    return out.reshape(batch, tiles * tile, width)[:, :length], last[:, 0, 0]


def _rate(z: Tensor, p: Tensor) -> Tensor:
    """Return log(1 / (1 - p)), computed in float32."""
    return torch.log(1.0 / (1.0 - p.float())).to(z.dtype)
