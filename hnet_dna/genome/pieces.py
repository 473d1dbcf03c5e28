"""Cuts intervals of a genome into pieces of constant size to run a model over, on either strand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hnet_dna.genome.fasta import PIECE, Piece
from hnet_dna.genome.genome import Genome
from hnet_dna.sequence.codes import reverse_complement
from hnet_dna.sequence.interval import Interval


def forward_pieces(genome: Genome, intervals: Iterable[Interval]) -> Iterator[Piece]:
    """Yield the bases of intervals, in the order of the intervals."""
    for interval in intervals:
        for start in range(interval.start, interval.end, PIECE):
            part = Interval(interval.contig, start, min(start + PIECE, interval.end))
            yield Piece(interval.contig, start, genome.codes(part), uracils=0)


def reverse_pieces(genome: Genome, intervals: Iterable[Interval]) -> Iterator[Piece]:
    """Yield the reverse strand of intervals, each from its end to its start.

    Positions count along the reverse strand: base i of a contig of L bases is base L - 1 - i there, and [s, e) is
    [L - e, L - s).
    """
    for interval in intervals:
        length = genome[interval.contig].length
        for end in range(interval.end, interval.start, -PIECE):
            part = Interval(interval.contig, max(end - PIECE, interval.start), end)
            yield Piece(interval.contig, length - end, reverse_complement(genome.codes(part)), uracils=0)
