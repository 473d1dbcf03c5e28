"""Windows as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hnet_dna.data.genome import Genome
from hnet_dna.data.windows import Window
from hnet_dna.sequence.codes import N_CODE, Codes, reverse_complement


@dataclass(frozen=True)
class Batch:
    """Codes of windows, padded on the right with N.

    Attributes:
        codes: (B, L+1) uint8; position t+1 is the target of position t.
        lengths: (B,) bases of each row that are predicted, at most L.
    """

    codes: Codes
    lengths: NDArray[np.int64]


def read_batch(genome: Genome, windows: Sequence[Window]) -> Batch:
    """Read windows from the genome, each on its strand."""
    lengths = np.array([len(window.interval) - 1 for window in windows])
    codes = np.full((len(windows), int(lengths.max()) + 1), N_CODE, dtype=np.uint8)
    for row, window in enumerate(windows):
        bases = genome.codes(window.interval)
        codes[row, : len(bases)] = reverse_complement(bases) if window.reverse else bases
    return Batch(codes, lengths)
