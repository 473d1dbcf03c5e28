"""Dynamic chunking: where chunks begin (router), which vectors go inwards (chunk), how they come back (dechunk).

Boundary probabilities and the smoothing average are always computed in float32 or better, also under autocast: a
bfloat16 average is known to spoil results on long sequences.
Source: arXiv 2507.07955, section 2.2, and the reference code where both differ.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hnet_dna.config.schema import StageConfig
from hnet_dna.model.rows import Rows, gather_positions, last_positions
from hnet_dna.ops import at_least_float32, ema_scan, neighbour_cosine, spread

EMA_CLAMP = 1e-4  # the average's weight stays this far from 0 and 1
# Batches of chunks are padded to a multiple of this, by kind of device. A new batch nearly always has another largest
# count. On a GPU each new shape costs: a block that the allocator cannot reuse, a kernel to choose or compile. 64 is
# the scans' tile, which they would pad to anyway. On a CPU a shape costs nothing, and padding costs time.
PAD_TO = {"cuda": 64}


class Routing(NamedTuple):
    """What the router decided: probability (B, L), 0 at padding, and boundary mask (B, L), False at padding."""

    prob: Tensor
    boundary: Tensor

    @property
    def confidence(self) -> Tensor:
        """Probability of the decision taken, (B, L)."""
        return torch.where(self.boundary, self.prob, 1.0 - self.prob)


class RouterState(NamedTuple):
    """What a router remembers of each row.

    The last vector (B, D), positions seen (B,), and positions since the last boundary that was not forced (B,).
    """

    last: Tensor
    seen: Tensor
    since: Tensor


class Router(nn.Module):
    """Decides where chunks begin. The first position of a sequence always begins one; elsewhere p > 1 - p does.

    | routing | p_t                                                                                      |
    |---------|------------------------------------------------------------------------------------------|
    | cosine  | (1 - cos(q(u_(t-1)), k(u_t))) / 2: a chunk begins where a vector turns away from the last |
    | linear  | sigmoid(w u_t + b)                                                                       |
    | fixed   | 1 at every `stride`-th position                                                          |
    | random  | 1 at one in `stride` positions, by a hash of the position, so that a stream is the whole |

    With `max_chunk`, a boundary is forced where the chunk would grow beyond it; p stays what it was.
    """

    def __init__(self, config: StageConfig) -> None:
        super().__init__()
        width = config.d_model
        self.routing, self.stride, self.max_chunk = config.routing, config.stride, config.max_chunk
        if self.routing == "cosine":
            self.q_proj_layer = nn.Linear(width, width, bias=False)
            self.k_proj_layer = nn.Linear(width, width, bias=False)
        elif self.routing == "linear":
            self.score = nn.Linear(width, 1)

    def forward(self, u: Tensor, rows: Rows, state: RouterState | None) -> tuple[Routing, RouterState | None]:
        """Decide for u (B, L, D)."""
        batch, length, width = u.shape
        with torch.autocast(u.device.type, enabled=False):
            u = at_least_float32(u)
            if state is None:
                none = torch.zeros(batch, dtype=torch.long, device=u.device)
                state = RouterState(u.new_zeros(batch, width), none, none)
            position = state.seen[:, None] + torch.arange(length, device=u.device)
            prob = torch.where(position == 0, 1.0, self._probability(u, state.last, position))
            prob = rows.zero_padding(prob)
            boundary = prob > 1.0 - prob
            since = state.since
            if self.max_chunk:
                forced, since = self._force(boundary, rows, since)
                boundary = boundary | forced
            if rows.last:
                return Routing(prob, boundary), None
            last = last_positions(state.last[:, None], u, rows, 1)[:, 0]
        return Routing(prob, boundary), RouterState(last, state.seen + rows.length, since)

    def _probability(self, u: Tensor, last: Tensor, position: Tensor) -> Tensor:
        """Return p (B, L) for vectors u (B, L, D), `last` (B, D) being before them."""
        if self.routing == "cosine":
            query, key = self.q_proj_layer.weight.to(u.dtype), self.k_proj_layer.weight.to(u.dtype)
            cosine = neighbour_cosine(F.linear(last, query), F.linear(u, query), F.linear(u, key))
            return ((1.0 - cosine) / 2.0).clamp(0.0, 1.0)
        if self.routing == "linear":
            score = F.linear(u, self.score.weight.to(u.dtype), self.score.bias.to(u.dtype))
            return torch.sigmoid(score[..., 0])
        if self.routing == "fixed":
            return (position % self.stride == 0).to(u.dtype)
        return (_hash(position) % self.stride == 0).to(u.dtype)

    def _force(self, boundary: Tensor, rows: Rows, since: Tensor) -> tuple[Tensor, Tensor]:
        """Return where boundaries are forced, and positions since the last unforced one after the piece.

        Forced boundaries lie at multiples of `max_chunk` after the last unforced one, so no loop is needed.
        """
        index = torch.arange(boundary.shape[1], device=boundary.device)
        latest = torch.where(boundary, index, -since[:, None]).cummax(dim=1).values
        forced = ((index - latest) % self.max_chunk == 0) & rows.valid(boundary.shape[1])
        padded = torch.cat([-since[:, None], latest], dim=1)
        return forced, rows.length - padded.gather(1, rows.length[:, None])[:, 0]


def _hash(position: Tensor) -> Tensor:
    """Scramble non-negative integers: Knuth's multiplication, and a shift that brings high bits down."""
    mixed = (position * 2654435761) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 2246822519) & 0xFFFFFFFF
    return mixed ^ (mixed >> 13)


def chunk(u: Tensor, boundary: Tensor, *, last: bool = False) -> tuple[Tensor, Tensor, Rows]:
    """Select the vectors at boundaries.

    Args:
        u: (B, L, D).
        boundary: (B, L) bool.
        last: nothing follows, as `Rows` says.

    Returns:
        The chunks' vectors (B, M, D), their positions (B, M), and their `Rows`; M is the largest count of a row,
        rounded up as `PAD_TO` says and never above L.
    """
    index = boundary.cumsum(dim=1)  # chunks that have begun up to each position
    count = index[:, -1].contiguous()
    multiple = PAD_TO.get(u.device.type, 1)
    rows = Rows.rounded(count, multiple, u.shape[1], last=last)
    # Each boundary's position goes to the slot of its chunk, all others to one slot more.
    slot = torch.where(boundary, index - 1, rows.padded)
    here = torch.arange(u.shape[1], device=u.device).expand_as(index)
    position = index.new_zeros(u.shape[0], rows.padded + 1).scatter_(1, slot, here)[:, : rows.padded]
    chunks: Tensor = _Select.apply(u, position, slot)  # type: ignore[no-untyped-call]
    return chunks, position, rows


class _Select(torch.autograd.Function):
    """Picks the vectors of chunks (B, M, D) from positions; each has one gradient at most, so that none are added."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, position: Tensor, slot: Tensor) -> Tensor:
        ctx.save_for_backward(slot)
        return gather_positions(u, position)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (slot,), grad = ctx.saved_tensors, grads[0]
        none = grad.new_zeros(grad.shape[0], 1, grad.shape[2])  # for positions that begin no chunk
        return gather_positions(torch.cat([grad, none], dim=1), slot), None, None


def dechunk(
    z: Tensor,
    rows: Rows,
    position: Tensor,
    routing: Routing,
    state: Tensor | None,
    *,
    smoothing: bool = True,
    straight_through: bool = True,
) -> tuple[Tensor, Tensor]:
    """Smooth the chunks' vectors and give every position that of its chunk, scaled by ste(confidence).

    Args:
        z: (B, M, D) vectors from the inner stage.
        rows: lengths of z.
        position: (B, M) where each chunk begins.
        routing: the router's decision over the L outer positions.
        state: (B, D) the average so far, None at a start.
        smoothing: False gives each chunk's own vector instead of the average.
        straight_through: False scales by the confidence itself, in the forward pass too.

    Returns:
        (B, L, D) in float32 or better, and the average after each row's last chunk.
    """
    with torch.autocast(z.device.type, enabled=False):
        z = at_least_float32(z)
        if state is None:
            state = z.new_zeros(z.shape[0], z.shape[2])
        if smoothing:
            weight = routing.prob.gather(1, position).float().clamp(EMA_CLAMP, 1.0 - EMA_CLAMP)
            smooth, after = ema_scan(z, rows.zero_padding(weight), state)
        else:
            smooth, after = z, last_positions(state[:, None], z, rows, 1)[:, 0]
        # Positions before a row's first boundary of this piece still belong to the chunk of the piece before.
        index = routing.boundary.cumsum(dim=1)
        out = spread(torch.cat([state[:, None], smooth], dim=1), index)
        confidence = routing.confidence.to(out.dtype)
        if not straight_through:
            return out * confidence[..., None], after
        scaled: Tensor = _StraightThrough.apply(out, confidence)  # type: ignore[no-untyped-call]
        return scaled, after


class _StraightThrough(torch.autograd.Function):
    """Multiplies x (B, L, D) by 1 for each confidence (B, L), whose gradient is that of x times confidence."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, confidence: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        (x,) = ctx.saved_tensors
        return grads[0], (grads[0] * x).sum(-1)
