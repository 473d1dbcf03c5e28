"""Which window comes when: only integers, no bases.

A sampler's position is (epoch, index), two integers; everything else follows from the seed, so that a run stopped at
any step goes on with the same windows. In each epoch every base of the training part but the first of each segment is
predicted exactly once: segments are tiled from a random phase, the tiles shuffled, each read on a random strand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hnet_dna.sequence.interval import Interval


@dataclass(frozen=True)
class Window:
    """Bases to read, one more than are predicted, and the strand to read them on."""

    interval: Interval
    reverse: bool
    genome: int = 0  # its number in the mixture: contigs of two genomes may have one name


@dataclass(frozen=True)
class Position:
    """Where a sampler stands."""

    epoch: int = 0
    index: int = 0


class WindowSampler:
    """Shuffled windows over segments that contain no run of N."""

    def __init__(self, segments: Sequence[Interval], length: int, seed: int, genome: int = 0) -> None:
        """Tile `segments` by windows that predict `length` bases each; segments of one base predict nothing.

        `genome` is the number that windows carry; together with the seed it decides where and when they come.
        """
        self._segments = [segment for segment in segments if len(segment) > 1]
        if not self._segments:
            raise ValueError("no segment of 2 or more bases")
        self._length, self._seed, self._genome = length, seed, genome
        self._starts = np.array([segment.start for segment in self._segments])
        self._ends = np.array([segment.end for segment in self._segments])
        self._epoch = -1

    def take(self, position: Position, count: int) -> tuple[list[Window], Position]:
        """Return the next `count` windows, and the position after them."""
        windows: list[Window] = []
        epoch, index = position.epoch, position.index
        while len(windows) < count:
            self._enter(epoch)
            taken = slice(index, index + count - len(windows))
            windows += self._windows(self._order[taken], self._reverse[taken])
            index = min(taken.stop, len(self._order))
            if index == len(self._order):
                epoch, index = epoch + 1, 0
        return windows, Position(epoch, index)

    def _enter(self, epoch: int) -> None:
        if epoch == self._epoch:
            return
        random = np.random.Generator(np.random.PCG64([self._seed, epoch, *([self._genome] if self._genome else [])]))
        predicted = self._ends - self._starts - 1
        # The first tile of a segment is cut short by a random amount, so that tiles lie differently in each epoch.
        self._phase: NDArray[np.int64] = random.integers(0, self._length, size=len(predicted))
        counts = -(-(predicted + self._phase) // self._length)
        self._first = np.concatenate(([0], np.cumsum(counts)))
        self._order = random.permutation(int(self._first[-1]))
        self._reverse = random.integers(0, 2, size=len(self._order), dtype=np.int8)
        self._epoch = epoch

    def _windows(self, tiles: NDArray[np.int64], reverse: NDArray[np.int8]) -> list[Window]:
        which = np.searchsorted(self._first, tiles, side="right") - 1
        offset = (tiles - self._first[which]) * self._length - self._phase[which]
        starts = self._starts[which] + np.maximum(offset, 0)
        ends = np.minimum(self._starts[which] + offset + self._length + 1, self._ends[which])
        return [
            Window(Interval(self._segments[w].contig, start, end), bool(r), self._genome)
            for w, start, end, r in zip(which.tolist(), starts.tolist(), ends.tolist(), reverse.tolist(), strict=True)
        ]
