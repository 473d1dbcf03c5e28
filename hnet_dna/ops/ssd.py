"""The Mamba-2 scan (state-space duality, arXiv 2405.21060): the plain loop, and the tiled form in matrix products.

The signature is documented at `hnet_dna.ops.serve.ssd_scan`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hnet_dna.ops.precision import at_least_float32
from hnet_dna.ops.tile_scan import decay_between, tile_scan

# Above this total decay within one tile (in nats) the fast form leaves float32's range. Its smallest factor takes a
# state from one tile to the next, exp of half of both tiles' decay; below exp(-87) it would lose digits, then vanish.
_MAX_FACTORED_DECAY = 80.0
_SMALLEST_TILE = 8


def ssd_scan_reference(
    x: Tensor, dt: Tensor, decay: Tensor, b: Tensor, c: Tensor, state: Tensor, tile: int
) -> tuple[Tensor, Tensor]:
    """Follow the recurrence one position at a time."""
    del tile
    x, dt, decay, b, c, state = map(at_least_float32, (x, dt, decay, b, c, state))
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
    or y. Where a tile decays by more than e^80 all are halved, and at 8 positions take the masked form, which has no
    such limit.
    """
    batch, length, heads, width = x.shape
    x, dt, decay, b, c, state = map(at_least_float32, (x, dt, decay, b, c, state))
    if length == 0:
        return x, state
    tile = min(tile, length)
    tiles = -(-length // tile)
    finer = partial(ssd_scan_chunked, x, dt, decay, b, c, state, tile // 2)
    if padding := tiles * tile - length:
        x, dt = F.pad(x, (0, 0, 0, 0, 0, padding)), F.pad(dt, (0, 0, 0, padding))
        b, c = F.pad(b, (0, 0, 0, padding)), F.pad(c, (0, 0, 0, padding))
    x, dt = x.reshape(batch, tiles, tile, heads, width), dt.reshape(batch, tiles, tile, heads)
    b, c = b.reshape(batch, tiles, tile, -1), c.reshape(batch, tiles, tile, -1)

    rate = dt * decay
    a = torch.cumsum(rate, dim=2)  # (B, tiles, tile, H), falling from 0
    if bool(a[:, :, -1].min() > -_MAX_FACTORED_DECAY):
        y, state = _Factored.apply(x, dt, a, b, c, state)  # type: ignore[no-untyped-call]
    elif tile > _SMALLEST_TILE:
        return finer()
    else:
        y, state = _masked(x, dt, rate, b, c, state)
    return y.reshape(batch, tiles * tile, heads, width)[:, :length], state


class _Factored(torch.autograd.Function):
    """The factored form, with a backward pass by hand.

    With left = exp(a - h), right = dt exp(h - a), u = right x, and S_k the state before tile k times exp(h_k):

        y = left (tril(c b^T) u + c S_k)          S_(k+1) = exp(total_k - h_k + h_(k+1)) (S_k + b^T u)

    The result does not depend on h, so that it is a constant for the gradients. left and right meet only y and x, so
    that the gradient of a needs no more than sums of (grad y) y and (grad u) u. u and S lie one below the other, so
    that the bracket is one product of twice the depth; so do their counterparts in the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        tiles = x.shape[1]
        b, c = b.flatten(0, 1), c.flatten(0, 1)
        scores = (c @ b.transpose(1, 2)).tril_()  # (B tiles, tile, tile)
        half, gains = _middle(a)
        left = torch.exp(a - half[:, :, None])
        values, u, before = _stacked(x, b.shape[-1])
        torch.mul(x, (dt / left)[..., None], out=u)
        added = (b.transpose(1, 2) @ _flat(u)).reshape(before.shape)
        # Tile by tile, so that a state stays in the cache from one step to the next.
        states, after = before.unbind(1), torch.empty_like(state)
        torch.mul(state, torch.exp(half[:, 0])[:, None, :, None], out=states[0])
        for k, (update, gain) in enumerate(zip(added.unbind(1), gains, strict=True)):
            following = states[k + 1] if k + 1 < tiles else after
            torch.add(states[k], update, out=following).mul_(gain)
        y = (torch.cat([scores, c], dim=-1) @ _flat(values)).reshape(x.shape)
        y *= left[..., None]
        ctx.save_for_backward(x, dt, a, b, c, scores, values, after, y)
        return y, after

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        grad_y, grad_after = grads
        x, dt, a, b, c, scores, values, after, y = ctx.saved_tensors
        tiles, tile = x.shape[1:3]
        half, gains = _middle(a)
        left = torch.exp(a - half[:, :, None])
        grad_a = (grad_y * y).sum(-1)
        # Below the gradient of the bracket, that of S_k + b^T u.
        grad_values, grad, grad_added = _stacked(x, b.shape[-1])
        torch.mul(grad_y, left[..., None], out=grad)
        grad_before = (c.transpose(1, 2) @ _flat(grad)).reshape(grad_added.shape)
        states, updates = grad_before.unbind(1), grad_added.unbind(1)
        following = grad_after
        for k in range(tiles - 1, -1, -1):
            torch.mul(following, gains[k], out=updates[k])
            following = states[k].add_(updates[k])
        u, before = values[:, :, :tile], values[:, :, tile:]
        # S_(k+1) is proportional to exp(total_k), whatever h.
        total = grad_a[:, :, -1]
        total[:, :-1] += (grad_before[:, 1:] * before[:, 1:]).sum(dim=(2, 4))
        total[:, -1] += (grad_after * after).sum(dim=(1, 3))

        both = _flat(u) @ _flat(grad_values).transpose(1, 2)
        grad_scores, grad_b = both[..., :tile], both[..., tile:]
        grad_scores = grad_scores.transpose(1, 2).tril()
        grad_b = torch.baddbmm(grad_b, grad_scores.transpose(1, 2), c)
        grad_c = torch.baddbmm(_flat(grad) @ _flat(before).transpose(1, 2), grad_scores, b)
        grad_u = (torch.cat([scores.transpose(1, 2), b], dim=-1) @ _flat(grad_values)).reshape(x.shape)
        along = (grad_u * x).sum(-1) / left
        grad_a -= along * dt
        grad_x = grad_u.mul_((dt / left)[..., None])
        grad_state = grad_before[:, 0] * torch.exp(half[:, 0])[:, None, :, None]
        parts = (*x.shape[:3], -1)
        return grad_x, along, grad_a, grad_b.reshape(parts), grad_c.reshape(parts), grad_state


def _stacked(x: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return room for positions (B, tiles, tile, H, P) above states (B, tiles, N, H, P), and both parts of it."""
    batch, tiles, tile, heads, width = x.shape
    both = x.new_empty(batch, tiles, tile + n, heads, width)
    return both, both[:, :, :tile], both[:, :, tile:]


def _flat(x: Tensor) -> Tensor:
    """Return x (B, tiles, rows, H, P) as matrices (B tiles, rows, H P), without a copy."""
    return x.flatten(3).flatten(0, 1)


def _middle(a: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return h (B, tiles, H), half of each tile's decay, and what takes S_k to S_(k+1), a (B, 1, H, 1) per tile."""
    total = a[:, :, -1]
    half = total / 2
    following = F.pad(half[:, 1:], (0, 0, 0, 1))
    return half, torch.exp(total - half + following)[:, :, None, :, None].unbind(1)


def _masked(x: Tensor, dt: Tensor, rate: Tensor, b: Tensor, c: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    scores = (c @ b.transpose(-1, -2)).tril()  # (B, tiles, tile, tile)
    a = torch.cumsum(rate, dim=2)
    kept = decay_between(rate.movedim(-1, 2)).movedim(2, -1)  # (B, tiles, i, j, H)
    u = x * dt[..., None]
    y = torch.einsum("bkij,bkijh,bkjhp->bkihp", scores, kept, u)
    update = torch.einsum("bkjn,bkjh,bkjhp->bknhp", b, kept[:, :, -1], u)
    before, state = tile_scan(torch.exp(a[:, :, -1]), update, state)
    return y + torch.einsum("bkin,bkih,bknhp->bkihp", c, torch.exp(a), before), state
