"""Chunks and bits in windows of a genome: tracks small enough to look at a whole chromosome."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.genome.open import GenomeLike, open_genome
from hnet_dna.inference.base_scores import BaseScores
from hnet_dna.tracks.bigwig import write_bigwig

if TYPE_CHECKING:
    from hnet_dna.tracks.chunks import Chunks

WINDOW = 1000


class Windows:
    """Sums over windows of a constant number of bases, of which only the last of a contig is shorter.

    Memory is 16 bytes per window.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise UsageError(f"`window` {size}: expected 1 or more bases")
        self.size = size
        self._lengths: dict[str, int] = {}
        self._sums: dict[str, NDArray[np.float64]] = {}
        self._bases: dict[str, NDArray[np.int64]] = {}
        self._scale = 1.0

    def contig(self, name: str, length: int) -> None:
        """Tell a contig's length, or that it has grown to at least this."""
        self._lengths[name] = max(length, self._lengths.get(name, 0))

    def add(self, chunks: Chunks) -> None:
        """Count chunks where they begin; windows then hold chunks per kilobase that was read."""
        self._scale = 1000.0
        if not len(chunks):
            return
        sums, bases = self._of(chunks.contig, int(chunks.end[-1]))
        first = int(chunks.start[0]) // self.size
        counts = np.bincount(chunks.start // self.size - first)
        sums[first : first + len(counts)] += counts
        cuts = np.flatnonzero(chunks.start[1:] != chunks.end[:-1]) + 1
        for start, end in zip(chunks.start[np.append(0, cuts)], chunks.end[np.append(cuts, 0) - 1], strict=True):
            here = np.arange(start // self.size, (end - 1) // self.size + 1)
            bases[here] += np.minimum((here + 1) * self.size, end) - np.maximum(here * self.size, start)

    def add_scores(self, scores: BaseScores) -> None:
        """Add the bits of bases; windows then hold the mean."""
        sums, bases = self._of(scores.contig, scores.end)
        known = np.flatnonzero(~np.isnan(scores.log2p))
        if not len(known):
            return
        first = scores.start // self.size
        where = (known + scores.start) // self.size - first
        bits = np.bincount(where, weights=-scores.log2p[known])
        sums[first : first + len(bits)] += bits
        bases[first : first + len(bits)] += np.bincount(where)

    def write_bigwig(self, path: Path) -> None:
        """Write a bigWig; windows without a base that was read are absent."""
        if not self._lengths:
            raise SequenceError(f"{path}: nothing to write, no contig was read")
        write_bigwig(path, self._lengths, self._blocks)

    def _of(self, contig: str, end: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        self.contig(contig, end)
        count = -(-self._lengths[contig] // self.size)
        held = self._sums.get(contig)
        if held is None or len(held) < count:  # twice as many, where a genome is read as it comes
            more = count if held is None else max(count, 2 * len(held))
            sums, bases = np.zeros(more), np.zeros(more, dtype=np.int64)
            if held is not None:
                sums[: len(held)], bases[: len(held)] = held, self._bases[contig]
            self._sums[contig], self._bases[contig] = sums, bases
        return self._sums[contig], self._bases[contig]

    def _blocks(self, contig: str) -> Iterator[tuple[int, NDArray[np.float32], int]]:
        if contig not in self._sums:
            return
        length = self._lengths[contig]
        whole, rest = divmod(length, self.size)
        sums, bases = self._sums[contig], self._bases[contig]
        with np.errstate(invalid="ignore"):
            means = (self._scale * sums / bases).astype(np.float32)
        if whole:
            yield 0, means[:whole], self.size
        if rest:
            yield whole * self.size, means[whole : whole + 1], rest


def write_summary(
    values: Iterable[BaseScores | Chunks], genome: GenomeLike, out: str | Path, *, window: int = WINDOW
) -> None:
    """Write a bigWig of windows: mean bits per base, or chunks per kilobase.

    Bases that were not read, such as N, count for neither.

    Args:
        values: as `score` yields them, or as `segment` does on one strand.
        genome: anything that `open_genome` takes, for the lengths of its contigs.
        out: the file.
        window: bases.

    Raises:
        UsageError: chunks of both strands, or a window below 1.
    """
    windows, strands = Windows(window), set()
    for contig in open_genome(genome).contigs:
        windows.contig(contig.name, contig.length)
    for value in values:
        if isinstance(value, BaseScores):
            windows.add_scores(value)
            continue
        strands.add(value.strand)
        if len(strands) > 1:
            raise UsageError("a summary is of one strand: write the chunks of each strand to a file of its own")
        windows.add(value)
    windows.write_bigwig(Path(out))
