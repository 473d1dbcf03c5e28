"""Dynamic chunking: where chunks begin (router), which vectors go inwards (chunk), how they come back (dechunk).

Boundary probabilities and the smoothing average are always computed in float32 or better, also under autocast: a
bfloat16 average is known to spoil results on long sequences.
Source: arXiv 2507.07955, section 2.2, and the reference code where both differ.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hnet_dna.model.rows import Rows, gather_positions
from hnet_dna.ops import ema_scan

EMA_CLAMP = 1e-4  # the average's weight stays this far from 0 and 1


class Routing(NamedTuple):
    """What the router decided: probability (B, L), 0 at padding, and boundary mask (B, L), False at padding."""

    prob: Tensor
    boundary: Tensor

    @property
    def confidence(self) -> Tensor:
        """Probability of the decision taken, (B, L)."""
        return torch.where(self.boundary, self.prob, 1.0 - self.prob)


class RouterState(NamedTuple):
    """The last vector seen (B, D), and whether the row has begun (B,)."""

    last: Tensor
    begun: Tensor


class Router(nn.Module):
    """A position begins a chunk where its vector points away from the vector before it.

    p_t = (1 - cos(q(u_(t-1)), k(u_t))) / 2, a boundary being p > 1 - p. The first position of a sequence is always one.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj_layer = nn.Linear(width, width, bias=False)
        self.k_proj_layer = nn.Linear(width, width, bias=False)

    def forward(self, u: Tensor, rows: Rows, state: RouterState | None) -> tuple[Routing, RouterState]:
        """Decide for u (B, L, D)."""
        batch, length, width = u.shape
        with torch.autocast(u.device.type, enabled=False):
            u = u if u.dtype == torch.float64 else u.float()
            if state is None:
                begun = torch.zeros(batch, dtype=torch.bool, device=u.device)
                state = RouterState(u.new_zeros(batch, width), begun)
            joined = torch.cat([state.last[:, None], u], dim=1)
            query = F.normalize(F.linear(joined[:, :-1], self.q_proj_layer.weight.to(u.dtype)), dim=-1, eps=1e-12)
            key = F.normalize(F.linear(u, self.k_proj_layer.weight.to(u.dtype)), dim=-1, eps=1e-12)
            prob = ((1.0 - (query * key).sum(-1)) / 2.0).clamp(0.0, 1.0)
            first = torch.arange(length, device=u.device) == 0
            prob = torch.where(first & ~state.begun[:, None], 1.0, prob)
            prob = rows.zero_padding(prob)
            last = gather_positions(joined, rows.length[:, None])[:, 0]
        return Routing(prob, prob > 1.0 - prob), RouterState(last, state.begun | (rows.length > 0))


def chunk(u: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor, Rows]:
    """Select the vectors at boundaries.

    Args:
        u: (B, L, D).
        boundary: (B, L) bool.

    Returns:
        The chunks' vectors (B, M, D), their positions (B, M), and their `Rows`; M is the largest count of a row.
    """
    count = boundary.sum(dim=1)
    padded = int(count.max())
    rows = Rows.of(count, padded)
    # A stable sort of "not a boundary" brings each row's boundaries to its front, in order.
    position = torch.argsort(~boundary, dim=1, stable=True)[:, :padded]
    return gather_positions(u, position), position, rows


def dechunk(z: Tensor, rows: Rows, position: Tensor, routing: Routing, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """Smooth the chunks' vectors and give every position that of its chunk, scaled by ste(confidence).

    Args:
        z: (B, M, D) vectors from the inner stage.
        rows: lengths of z.
        position: (B, M) where each chunk begins.
        routing: the router's decision over the L outer positions.
        state: (B, D) the average so far, None at a start.

    Returns:
        (B, L, D) in float32 or better, and the average after each row's last chunk.
    """
    with torch.autocast(z.device.type, enabled=False):
        z = z if z.dtype == torch.float64 else z.float()
        if state is None:
            state = z.new_zeros(z.shape[0], z.shape[2])
        weight = routing.prob.gather(1, position).float().clamp(EMA_CLAMP, 1.0 - EMA_CLAMP)
        smooth, after = ema_scan(z, rows.zero_padding(weight), state)
        # Positions before a row's first boundary of this piece still belong to the chunk of the piece before.
        index = routing.boundary.cumsum(dim=1)
        out = gather_positions(torch.cat([state[:, None], smooth], dim=1), index)
        return out * _ste(routing.confidence).to(out.dtype)[..., None], after


def _ste(confidence: Tensor) -> Tensor:
    """1 in the forward pass, the identity in the backward pass (straight-through estimator)."""
    return confidence - confidence.detach() + 1.0
