"""The Mamba-2 scan (state-space duality, arXiv 2405.21060): the plain loop, and the tiled form in matrix products.

The signature is documented at `hnet_dna.ops.backend.ssd_scan`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hnet_dna.ops.tile_scan import decay_between, tile_scan

# Above this total decay within one tile (in nats) the factors of the fast form leave float32's comfortable range.
_MAX_FACTORED_DECAY = 60.0


def ssd_scan_reference(
    x: Tensor, dt: Tensor, decay: Tensor, b: Tensor, c: Tensor, state: Tensor, tile: int
) -> tuple[Tensor, Tensor]:
    """Follow the recurrence one position at a time."""
    del tile
    x, dt, decay, b, c, state = _at_least_float32(x, dt, decay, b, c, state)
    ys = []
    for t in range(x.shape[1]):
        gain = torch.exp(dt[:, t] * decay)  # (B, H)
        update = torch.einsum("bh,bn,bhp->bnhp", dt[:, t], b[:, t], x[:, t])
        state = gain[:, None, :, None] * state + update
        ys.append(torch.einsum("bn,bnhp->bhp", c[:, t], state))
    return (torch.stack(ys, dim=1) if ys else x), state


def ssd_scan_chunked(
    x: Tensor, dt: Tensor, decay: Tensor, b: Tensor, c: Tensor, state: Tensor, tile: int
) -> tuple[Tensor, Tensor]:
    """Work on tiles of positions with matrix products, and carry the state from tile to tile.

    Within a tile the decay from j to i is exp(a_i - a_j), a = cumsum(dt * decay). Where the decay over the whole tile
    is moderate it factors into exp(a_i - h) exp(h - a_j) with h in the middle, so that the lower-triangular matrix
    (c_i . b_j) is shared by all heads and no (tile x tile x head) mask is ever built: each factor is one pass over x
    or y. The rare tile that decays by more than e^60 takes the masked form, which has no such limit.
    """
    batch, length, heads, width = x.shape
    x, dt, decay, b, c, state = _at_least_float32(x, dt, decay, b, c, state)
    if length == 0:
        return x, state
    tile = min(tile, length)
    tiles = -(-length // tile)
    if padding := tiles * tile - length:
        x, dt = F.pad(x, (0, 0, 0, 0, 0, padding)), F.pad(dt, (0, 0, 0, padding))
        b, c = F.pad(b, (0, 0, 0, padding)), F.pad(c, (0, 0, 0, padding))
    x, dt = x.reshape(batch, tiles, tile, heads, width), dt.reshape(batch, tiles, tile, heads)
    b, c = b.reshape(batch, tiles, tile, -1), c.reshape(batch, tiles, tile, -1)

    rate = dt * decay
    a = torch.cumsum(rate, dim=2)  # (B, tiles, tile, H), falling from 0
    total = a[:, :, -1]  # (B, tiles, H)
    scores = (c @ b.transpose(-1, -2)).tril()  # (B, tiles, tile, tile)
    if bool(total.min() > -_MAX_FACTORED_DECAY):
        y, state = _factored(x, dt, a, total, scores, b, c, state)
    else:
        y, state = _masked(x, dt, rate, scores, b, c, state)
    return y.reshape(batch, tiles * tile, heads, width)[:, :length], state


def _factored(
    x: Tensor, dt: Tensor, a: Tensor, total: Tensor, scores: Tensor, b: Tensor, c: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    batch, tiles, tile, heads, width = x.shape
    half = total / 2
    middle = torch.exp(half)
    right = torch.exp(half[:, :, None] - a) * dt
    left = torch.exp(a - half[:, :, None])
    u = (x * right[..., None]).reshape(batch * tiles, tile, heads * width)
    b, c, scores = b.flatten(0, 1), c.flatten(0, 1), scores.flatten(0, 1)
    update = (b.transpose(1, 2) @ u).reshape(batch, tiles, -1, heads, width) * middle[:, :, None, :, None]
    before, state = tile_scan(torch.exp(total), update, state)
    carried = (before * middle[:, :, None, :, None]).reshape(batch * tiles, -1, heads * width)
    y = torch.baddbmm(c @ carried, scores, u)
    return y.reshape(batch, tiles, tile, heads, width) * left[..., None], state


def _masked(
    x: Tensor, dt: Tensor, rate: Tensor, scores: Tensor, b: Tensor, c: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    a = torch.cumsum(rate, dim=2)
    kept = decay_between(rate.movedim(-1, 2)).movedim(2, -1)  # (B, tiles, i, j, H)
    u = x * dt[..., None]
    y = torch.einsum("bkij,bkijh,bkjhp->bkihp", scores, kept, u)
    update = torch.einsum("bkjn,bkjh,bkjhp->bknhp", b, kept[:, :, -1], u)
    before, state = tile_scan(torch.exp(a[:, :, -1]), update, state)
    return y + torch.einsum("bkin,bkih,bknhp->bkihp", c, torch.exp(a), before), state


def _at_least_float32(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(t if t.dtype in (torch.float32, torch.float64) else t.float() for t in tensors)
