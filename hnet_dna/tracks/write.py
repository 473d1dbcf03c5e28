"""Writes what `score` and `segment` give, one number per base, as bigWig or bedGraph."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hnet_dna.errors import UsageError
from hnet_dna.genome.open import GenomeLike, open_genome
from hnet_dna.inference.base_scores import BaseScores
from hnet_dna.tracks.chunks import Chunks
from hnet_dna.tracks.values import Values


def write_bigwig(values: Iterable[BaseScores | Chunks], genome: GenomeLike, out: str | Path) -> None:
    """Write a bigWig of log2 p per base, or of boundary probability per base; memory does not grow with the genome.

    Args:
        values: as `score` yields them, or as `segment` does with `every_base` and one strand.
        genome: anything that `open_genome` takes, for the lengths of its contigs.
        out: the file.

    Raises:
        UsageError: chunks without probabilities at every base, or of both strands.
    """
    with _gathered(values, genome) as gathered:
        gathered.write_bigwig(Path(out))


def write_bedgraph(values: Iterable[BaseScores | Chunks], genome: GenomeLike, out: str | Path) -> None:
    """Write a bedGraph, by bgzip if its name ends in .gz; arguments and errors are those of `write_bigwig`."""
    with _gathered(values, genome) as gathered:
        gathered.write_bedgraph(Path(out))


def _gathered(values: Iterable[BaseScores | Chunks], genome: GenomeLike) -> Values:
    gathered, strands = Values(), set()
    for contig in open_genome(genome).contigs:
        gathered.contig(contig.name, contig.length)
    for value in values:
        if isinstance(value, BaseScores):
            gathered.add(value.contig, value.start, value.log2p)
            continue
        strands.add(value.strand)
        if value.base_probability is None:
            raise UsageError("these chunks have no probability at every base: call segment with `every_base`")
        if len(strands) > 1:
            raise UsageError("a track has one value per base: write the chunks of each strand to a file of its own")
        gathered.add(value.contig, 0, value.base_probability)
    return gathered
