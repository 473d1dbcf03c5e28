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
        longest: the largest of the lengths, so that no layer has to wait for the device to know it.
        last: nothing follows, as in training: layers need not return states.
    """

    length: Tensor
    mask: Tensor | None
    longest: int
    last: bool = False

    @classmethod
    def of(cls, length: Tensor, padded: int, device: torch.device | None = None, *, last: bool = False) -> Rows:
        """Describe rows of the given lengths, padded to `padded` positions, on `device`; lengths may be on the CPU."""
        shortest, longest = _extremes(length)
        return cls._of(length.to(device or length.device, non_blocking=True), shortest, longest, padded, last)

    @classmethod
    def rounded(cls, length: Tensor, multiple: int, most: int, *, last: bool = False) -> Rows:
        """Describe rows of the given lengths, the longest padded to the next multiple, but to no more than `most`."""
        shortest, longest = _extremes(length)
        return cls._of(length, shortest, longest, min(-(-longest // multiple) * multiple, most), last)

    @classmethod
    def _of(cls, length: Tensor, shortest: int, longest: int, padded: int, last: bool) -> Rows:
        mask = None if shortest == padded else torch.arange(padded, device=length.device) < length[:, None]
        return cls(length, mask, longest, last)

    @classmethod
    def full(cls, x: Tensor, *, last: bool = False) -> Rows:
        """Describe a batch without padding, x being (B, L, ...)."""
        return cls(torch.full((x.shape[0],), x.shape[1], device=x.device), None, x.shape[1], last)

    @property
    def padded(self) -> int:
        """Positions of each row, padding included."""
        return self.longest if self.mask is None else self.mask.shape[1]

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


def _extremes(length: Tensor) -> tuple[int, int]:
    if length.device.type == "cpu":  # known at once
        lengths = length.numpy()
        return int(lengths.min()), int(lengths.max())
    shortest, longest = torch.stack(torch.aminmax(length)).tolist()  # one wait for the device, not two
    return shortest, longest


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
