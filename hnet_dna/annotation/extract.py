"""Cuts regions out of a genome, named as samtools names them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hnet_dna.annotation.regions import parse_region
from hnet_dna.genome.genome import Genome, whole
from hnet_dna.genome.open import GenomeLike, open_genome
from hnet_dna.sequence.codes import Codes, to_text
from hnet_dna.sequence.interval import Interval


@dataclass(frozen=True)
class Extract:
    """A part of a genome.

    Attributes:
        name: `contig:start-end`, counted from 1 with both ends included as in samtools; of a whole contig its name.
        interval: where it lies, 0-based and half-open.
        codes: (L,) nucleotide codes, mapped from the genome's store rather than copied.
    """

    name: str
    interval: Interval
    codes: Codes

    def __len__(self) -> int:
        return len(self.interval)

    def __str__(self) -> str:
        """Return the bases as text, soft-masked ones in lower case."""
        return to_text(self.codes)


def extract(genome: GenomeLike, regions: str | Interval | Iterable[str | Interval]) -> list[Extract]:
    """Return parts of a genome, in the order in which they are asked for.

    Args:
        genome: anything that `open_genome` takes.
        regions: one or several; each is an `Interval`, the name of a contig, or text such as `chr2:1,001-2,000`, which
            counts from 1 and includes both ends.

    Raises:
        SequenceError: the genome lacks a contig, or a contig ends before a region does.
        UsageError: text that is not a region.
    """
    opened = open_genome(genome)
    return [_extract(opened, one) for one in ([regions] if isinstance(regions, str | Interval) else regions)]


def _extract(genome: Genome, region: str | Interval) -> Extract:
    if isinstance(region, str) and (region in genome or ":" not in region):
        interval = whole(genome[region])
        return Extract(region, interval, genome.codes(interval))
    interval = parse_region(region, genome) if isinstance(region, str) else region
    return Extract(f"{interval.contig}:{interval.start + 1}-{interval.end}", interval, genome.codes(interval))
