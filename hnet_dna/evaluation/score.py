"""Bits per base as sums, to be divided once."""

from __future__ import annotations

from dataclasses import dataclass

from hnet_dna.inference.stream import Bases
from hnet_dna.sequence.codes import is_acgt


@dataclass(frozen=True)
class Score:
    """Sums over bases; add two to get that of both.

    Attributes:
        bits: -log2 p summed in float64.
        bases: bases A, C, G, T counted.
        read: bases run, other letters included.
        chunks: chunks begun, per chunking stage.
    """

    bits: float = 0.0
    bases: int = 0
    read: int = 0
    chunks: tuple[int, ...] = ()

    @classmethod
    def of(cls, bases: Bases) -> Score:
        """Sum over one piece of results."""
        return cls(
            float(bases.bits.sum()),
            int(is_acgt(bases.codes).sum()),
            len(bases.codes),
            tuple(int(stage.mask.sum()) for stage in bases.stages),
        )

    def __add__(self, other: Score) -> Score:
        chunks = tuple(a + b for a, b in zip(self.chunks, other.chunks, strict=True)) if self.chunks else other.chunks
        return Score(self.bits + other.bits, self.bases + other.bases, self.read + other.read, chunks)

    @property
    def bits_per_base(self) -> float:
        """Mean bits, NaN over nothing."""
        return self.bits / self.bases if self.bases else float("nan")

    @property
    def positions_per_chunk(self) -> tuple[float, ...]:
        """Mean chunk length of each stage, in positions of that stage."""
        positions = (self.read, *self.chunks)
        return tuple(p / c if c else float("nan") for p, c in zip(positions, self.chunks, strict=False))
