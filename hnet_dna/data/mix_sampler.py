"""Which window of which genome comes when.

Window n of a run is of the genome in whose share of [0, 1) the fraction of offset + n times the golden ratio lies; the
seed decides the offset. These numbers fill the interval evenly, so that after any number of windows each genome has had
its share to within a few windows. Of a genome, windows come as `WindowSampler` gives them, in epochs of its own. All of
it follows from the seed and the table of genomes: `MixPosition` only saves counting from the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hnet_dna.data.windows import Position, Window, WindowSampler
from hnet_dna.sequence.interval import Interval

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio
_BITS = 53  # of the fraction that are compared


@dataclass(frozen=True)
class MixPosition:
    """Where a sampler of several genomes stands.

    Attributes:
        drawn: windows so far.
        epochs, indices: where the windows of each genome stand; empty before the first window.
    """

    drawn: int = 0
    epochs: tuple[int, ...] = ()
    indices: tuple[int, ...] = ()

    def next_epochs(self) -> MixPosition:
        """Return the position at which each genome begins its next epoch."""
        return replace(self, epochs=tuple(epoch + 1 for epoch in self.epochs), indices=(0,) * len(self.indices))


class MixSampler:
    """Shuffled windows over segments of several genomes."""

    def __init__(self, segments: Sequence[Sequence[Interval]], shares: Sequence[float], length: int, seed: int) -> None:
        """Tile the segments of each genome by windows that predict `length` bases each.

        `shares` are those of the genomes among all windows; a genome with share 0 gives none, and may have no segment.
        """
        total = sum(shares)
        self._samplers = [
            WindowSampler(stretches, length, seed, genome) if share > 0 else None
            for genome, (stretches, share) in enumerate(zip(segments, shares, strict=True))
        ]
        ends = np.cumsum(np.array(shares) / total)
        ends[max(np.flatnonzero(np.array(shares))) :] = 1.0
        self._ends: NDArray[np.uint64] = np.floor(ends * 2.0**_BITS).astype(np.uint64)
        self._offset = np.random.PCG64([seed, 0x6D6978]).random_raw(1).astype(np.uint64)[0]

    def take(self, position: MixPosition, count: int) -> tuple[list[Window], MixPosition]:
        """Return the next `count` windows, and the position after them."""
        chosen = self._genomes(position.drawn, count)
        windows: list[Window | None] = [None] * count
        epochs = list(position.epochs) or [0] * len(self._samplers)
        indices = list(position.indices) or [0] * len(self._samplers)
        for genome in dict.fromkeys(chosen.tolist()):
            sampler = self._samplers[genome]
            assert sampler is not None
            places = np.flatnonzero(chosen == genome).tolist()
            taken, after = sampler.take(Position(epochs[genome], indices[genome]), len(places))
            epochs[genome], indices[genome] = after.epoch, after.index
            for place, window in zip(places, taken, strict=True):
                windows[place] = window
        return [w for w in windows if w is not None], MixPosition(position.drawn + count, tuple(epochs), tuple(indices))

    def _genomes(self, drawn: int, count: int) -> NDArray[np.int64]:
        """Return the genomes of windows `drawn` to `drawn` + `count` - 1."""
        numbers = np.arange(drawn, drawn + count, dtype=np.uint64)
        fraction = (self._offset + numbers * _GOLDEN) >> np.uint64(64 - _BITS)
        genomes: NDArray[np.int64] = np.searchsorted(self._ends, fraction, side="right")
        return genomes
