"""The axis that all statistics are computed on: the bases that were read, stretch after stretch.

A stretch is what the model reads as one sequence. Its first base begins a chunk by definition, so that it is not a part
of the axis. Gaps separate the stretches, so that no window reaches from one into another. Positions on the axis are
sorted integers, intervals are half-open, of shape (K, 2), and statistics are functions of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hnet_dna.evaluation.breakdown import BLOCK
from hnet_dna.genome.genome import Genome
from hnet_dna.sequence.codes import N_CODE, Codes
from hnet_dna.sequence.interval import Interval

Positions: TypeAlias = NDArray[np.int64]
GAP = 128  # positions between stretches; wider than any window around a site


class Axis:
    """Stretches side by side.

    Attributes:
        stretches: as given, with their first bases; those of a single base are left out.
        offset: (S,) position of the second base of each stretch, which is the first that counts.
        length: (S,) bases of each stretch that count.
    """

    def __init__(self, stretches: Iterable[Interval]) -> None:
        """Lay out disjoint intervals, each of which the model reads as one sequence."""
        self.stretches = tuple(stretch for stretch in stretches if len(stretch) > 1)
        self.length = np.array([len(stretch) - 1 for stretch in self.stretches], dtype=np.int64)
        self.offset = GAP + np.concatenate(([0], np.cumsum(self.length + GAP)))[: len(self.length)].astype(np.int64)
        self._by_contig: dict[str, tuple[Positions, Positions, Positions]] = {}
        for contig in dict.fromkeys(stretch.contig for stretch in self.stretches):
            index = [i for i, stretch in enumerate(self.stretches) if stretch.contig == contig]
            index.sort(key=lambda i: self.stretches[i].start)
            start = np.array([self.stretches[i].start + 1 for i in index], dtype=np.int64)
            self._by_contig[contig] = (start, start + self.length[index], self.offset[index])

    @property
    def bases(self) -> int:
        """Bases that count."""
        return int(self.length.sum())

    @property
    def whole(self) -> Positions:
        """(S, 2) the stretches as intervals on the axis."""
        return np.stack([self.offset, self.offset + self.length], axis=1)

    @property
    def size(self) -> int:
        """Length of an array with an entry for each position, gaps included."""
        return GAP + int((self.length + GAP).sum())

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """(size,) whether a position is a base."""
        mask = np.zeros(self.size, dtype=bool)
        for offset, length in zip(self.offset, self.length, strict=True):
            mask[offset : offset + length] = True
        return mask

    @cached_property
    def block(self) -> NDArray[np.int32]:
        """(size,) number of the block of `BLOCK` bases of its contig that a position lies in; 0 in gaps."""
        number = np.zeros(self.size, dtype=np.int32)
        known: dict[tuple[str, int], int] = {}
        for stretch, offset in zip(self.stretches, self.offset.tolist(), strict=True):
            start = stretch.start + 1
            for block in range(start // BLOCK, (stretch.end - 1) // BLOCK + 1):
                first, last = max(block * BLOCK, start), min((block + 1) * BLOCK, stretch.end)
                name = known.setdefault((stretch.contig, block), len(known))
                number[offset + first - start : offset + last - start] = name
        return number

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return int(self.block.max(initial=-1)) + 1

    def place(self, contig: str, positions: Positions) -> Positions:
        """Return the places of positions of a contig, in their order; -1 for positions off the axis."""
        if contig not in self._by_contig:
            return np.full(len(positions), -1, dtype=np.int64)
        start, end, offset = self._by_contig[contig]
        index = np.searchsorted(start, positions, side="right") - 1
        inside = (index >= 0) & (positions < end[index])
        places: Positions = np.where(inside, positions - start[index] + offset[index], -1)
        return places

    def clip(self, intervals: Sequence[Interval]) -> Positions:
        """Return the parts of disjoint intervals that lie on the axis, as sorted intervals (K, 2) on it."""
        by_contig: dict[str, list[tuple[int, int]]] = {}
        for interval in intervals:
            by_contig.setdefault(interval.contig, []).append((interval.start, interval.end))
        clipped = [np.zeros((0, 2), dtype=np.int64)]
        for contig, pairs in by_contig.items():
            if contig not in self._by_contig:
                continue
            table = np.array(sorted(pairs), dtype=np.int64)
            for start, end, offset in zip(*self._by_contig[contig], strict=True):
                first = int(np.searchsorted(table[:, 1], start, side="right"))
                last = int(np.searchsorted(table[:, 0], end))
                clipped.append(np.clip(table[first:last], start, end) - start + offset)
        placed = np.concatenate(clipped)
        in_order: Positions = placed[np.argsort(placed[:, 0])]
        return in_order

    def codes(self, genome: Genome) -> Codes:
        """Return the codes at each position (size,); the place before a stretch holds its first base, gaps hold N."""
        codes = np.full(self.size, N_CODE, dtype=np.uint8)
        for stretch, offset in zip(self.stretches, self.offset.tolist(), strict=True):
            codes[offset - 1 : offset - 1 + len(stretch)] = genome.codes(stretch)
        return codes


def inside(positions: Positions, intervals: Positions) -> Positions:
    """Return the sorted positions that lie in disjoint intervals (K, 2), interval by interval."""
    first = np.searchsorted(positions, intervals[:, 0])
    last = np.searchsorted(positions, intervals[:, 1])
    return positions[spread(np.stack([first, last], axis=1))]


def spread(intervals: Positions) -> Positions:
    """Return all integers in intervals (K, 2), one interval after the other."""
    length = intervals[:, 1] - intervals[:, 0]
    before = np.cumsum(length) - length
    integers: Positions = np.arange(int(length.sum()), dtype=np.int64) + np.repeat(intervals[:, 0] - before, length)
    return integers
