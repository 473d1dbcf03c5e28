"""Batches whose rows have different lengths: padding lies on the right and is never looked at.

Every layer of the model takes (B, L, D) and a `Rows`. A row of length 0 is legal anywhere: when a sequence is streamed
base by base, the inner stage of most rows has nothing to do.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Lengths of the rows of a padded batch.

    Attributes:
        length: (B,) int64, valid positions of each row.
        mask: (B, L) bool, True where valid; None when every row is full, which saves the masking.
    """

    length: Tensor
    mask: Tensor | None

    @classmethod
    def of(cls, length: Tensor, padded: int) -> Rows:
        """Describe rows of the given lengths, padded to `padded` positions."""
        if bool((length == padded).all()):
            return cls(length, None)
        return cls(length, torch.arange(padded, device=length.device) < length[:, None])

    @classmethod
    def full(cls, x: Tensor) -> Rows:
        """Describe a batch without padding, x being (B, L, ...)."""
        return cls(torch.full((x.shape[0],), x.shape[1], device=x.device), None)

    def valid(self, padded: int) -> Tensor:
        """Return the (B, L) mask, also where all rows are full."""
        if self.mask is not None:
            return self.mask
        return torch.ones(self.length.shape[0], padded, dtype=torch.bool, device=self.length.device)

    def zero_padding(self, x: Tensor) -> Tensor:
        """Set x (B, L, ...) to 0 at padding."""
        if self.mask is None:
            return x
        return x * self.mask.reshape(self.mask.shape + (1,) * (x.ndim - 2))


def gather_positions(x: Tensor, index: Tensor) -> Tensor:
    """Pick x[b, index[b, j]] for x (B, L, ...) and index (B, J)."""
    index = index.reshape(index.shape + (1,) * (x.ndim - 2)).expand(*index.shape, *x.shape[2:])
    return x.gather(1, index)


def last_positions(past: Tensor, x: Tensor, rows: Rows, count: int) -> Tensor:
    """Return the last `count` valid positions of `past` followed by `x`.

    Args:
        past: (B, K, ...) what came before, right-aligned.
        x: (B, L, ...) the new positions, padded on the right.
        rows: lengths of x.
        count: at most K + the shortest row.

    Returns:
        (B, count, ...), right-aligned.
    """
    if rows.mask is None:
        length = x.shape[1]
        return x[:, length - count :] if length >= count else torch.cat([past, x], dim=1)[:, -count:]
    # Picked from either side, so that the two are never joined in memory.
    index = rows.length[:, None] - count + torch.arange(count, device=x.device)
    new = gather_positions(x, index.clamp(min=0))
    old = gather_positions(past, (past.shape[1] + index).clamp(0, max(past.shape[1] - 1, 0))) if past.shape[1] else new
    return torch.where((index < 0).reshape(index.shape + (1,) * (x.ndim - 2)), old, new)
