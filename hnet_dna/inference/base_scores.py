"""log2 p of every base, averaged over both strands or on one, base by base or summed over regions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from hnet_dna.annotation.regions import Region, read_regions
from hnet_dna.genome.genome import Genome, known_bases, whole
from hnet_dna.genome.open import GenomeLike, open_genome, open_with_progress
from hnet_dna.inference.load import load_model
from hnet_dna.inference.strands import read_strands
from hnet_dna.inference.stream import log_windows
from hnet_dna.model.lm import HNetLM
from hnet_dna.plural import counted
from hnet_dna.progress import OnProgress, Work, ignore
from hnet_dna.sequence.codes import is_acgt
from hnet_dna.sequence.interval import Interval, union
from hnet_dna.sequence.strand import Strand, check_strand

OnBases = Callable[[int], None]


@dataclass(frozen=True)
class BaseScores:
    """Consecutive bases of a contig.

    Attributes:
        contig, start: where they are, 0-based.
        log2p: (L,) in float64; NaN where the base is not A, C, G or T. On the forward strand a base is predicted from
            those before it, on the reverse strand from those after it; `both` is the mean of the two.
    """

    contig: str
    start: int
    log2p: NDArray[np.float64]

    @property
    def end(self) -> int:
        """Position after the last base."""
        return self.start + len(self.log2p)

    def to_pandas(self) -> Any:
        """Return a data frame with the columns chrom, start, end, log2p, one row per base (needs pandas)."""
        import pandas as pd

        starts = np.arange(self.start, self.end)
        return pd.DataFrame({"chrom": self.contig, "start": starts, "end": starts + 1, "log2p": self.log2p})


def score(
    genome: GenomeLike,
    model: str | Path | HNetLM,
    *,
    strand: Strand = "both",
    regions: Sequence[Interval] | None = None,
    streams: int | None = None,
    on_bases: OnBases = lambda count: None,
) -> Iterator[BaseScores]:
    """Yield log2 p of every base in the genome's order, piece by piece, in constant memory.

    Args:
        genome: anything that `open_genome` takes.
        model: anything that `load_model` takes.
        strand: which strand predicts a base, or the mean of both.
        regions: score only these disjoint intervals, each read on its own; whole contigs where None.
        streams: contigs, regions and strands that are run side by side, at most; what suits the model's device where
            None.
        on_bases: called with the number of bases run since the last call; on both strands, each counts twice.

    Raises:
        UsageError: there is no such strand.
        SequenceError: the genome cannot be read, or a region is not part of it.

    Example:
        >>> from hnet_dna import score
        >>> next(score({"chr1": "ACGTTGCA"}, "five-genomes")).log2p.shape
        (8,)
    """
    check_strand(strand)
    opened, loaded = open_genome(genome), load_model(model)
    intervals = [whole(contig) for contig in opened.contigs] if regions is None else list(regions)
    yield from base_scores(opened, intervals, loaded, strand, streams=streams, on_bases=on_bases)


def base_scores(
    genome: Genome,
    intervals: Sequence[Interval],
    model: HNetLM,
    strand: Strand = "both",
    *,
    streams: int | None = None,
    piece: int | None = None,
    on_bases: OnBases = lambda count: None,
) -> Iterator[BaseScores]:
    """Score the bases of disjoint intervals, each read on its own; runs of N have no scores.

    `on_bases` gets how many more bases have been run; on both strands, each counts twice.
    """
    for reading in read_strands(
        genome, intervals, model, strand, bits=True, streams=streams, piece=piece, on_bases=on_bases
    ):
        part = reading.part
        bits = np.mean([result.bits for result in (reading.plus, reading.minus) if result is not None], axis=0)
        yield BaseScores(part.contig, part.start, np.where(is_acgt(part.codes), -bits, np.nan))


@dataclass(frozen=True)
class RegionScore:
    """The likelihood of a region.

    Attributes:
        region: where, and its name.
        bases: how many of its bases are A, C, G or T.
        log2p: the sum of their log2 p.
    """

    region: Region
    bases: int
    log2p: float

    @property
    def mean(self) -> float:
        """Mean log2 p of a base, NaN where there is none."""
        return self.log2p / self.bases if self.bases else float("nan")


def score_regions(
    regions: str | Path | Sequence[Region],
    genome: GenomeLike,
    model: str | Path | HNetLM,
    *,
    strand: Strand = "both",
    context: int = 4096,
    streams: int | None = None,
    on_progress: OnProgress = ignore,
) -> list[RegionScore]:
    r"""Return the sum of log2 p over each region, in the order of the regions.

    Args:
        regions: a BED file, or its lines as they have been read.
        genome: anything that `open_genome` takes.
        model: anything that `load_model` takes.
        strand: which strand predicts a base, or the mean of both.
        context: bases read around each region, as far as its contig goes.
        streams: surroundings and strands that are run side by side, at most; what suits the model's device where None.
        on_progress: called with a `Progress` as the work goes on.

    Raises:
        UsageError: there is no such strand.
        SequenceError: the genome cannot be read, or a region is not part of it.

    Example:
        >>> from pathlib import Path
        >>> from hnet_dna import score_regions
        >>> _ = Path("sites.bed").write_text("chr1\t2\t6\tsite\n")
        >>> [row.bases for row in score_regions("sites.bed", {"chr1": "ACGTTGCA"}, "five-genomes")]
        [4]
    """
    check_strand(strand)
    opened, loaded = open_with_progress(genome, on_progress), load_model(model)
    log_windows(loaded)
    rows = read_regions(regions, opened) if isinstance(regions, str | Path) else regions
    total = known_bases(opened, read_for(opened, rows, context)) * (2 if strand == "both" else 1)
    about = f"{counted(len(rows), 'region')}, {counted(total, 'base')}"
    with Work(on_progress, "scoring", total, "bases", about=about) as work:
        return region_scores(opened, rows, loaded, strand, context=context, streams=streams, on_bases=work.add)


def write_region_scores(scores: Iterable[RegionScore], out: TextIO) -> None:
    """Write a table of region scores with tabs: contig, start, end, name, bases, log2p_sum, log2p_mean."""
    out.write("#contig\tstart\tend\tname\tbases\tlog2p_sum\tlog2p_mean\n")
    for row in scores:
        at = row.region.interval
        mean = f"{row.mean:.6f}" if row.bases else "."
        out.write(
            f"{at.contig}\t{at.start}\t{at.end}\t{row.region.name or '.'}\t{row.bases}\t{row.log2p:.4f}\t{mean}\n"
        )


def region_scores(
    genome: Genome,
    regions: Sequence[Region],
    model: HNetLM,
    strand: Strand = "both",
    *,
    context: int = 4096,
    streams: int | None = None,
    piece: int | None = None,
    on_bases: OnBases = lambda count: None,
) -> list[RegionScore]:
    """Score regions, in their order; `read_for` says what is read for them, and `base_scores` what `on_bases` gets.

    Regions whose surroundings overlap are read together.
    """
    around = read_for(genome, regions, context)
    by_contig: dict[str, list[int]] = {}
    for index, region in enumerate(regions):
        by_contig.setdefault(region.interval.contig, []).append(index)
    starts = {c: np.array([regions[i].interval.start for i in numbers]) for c, numbers in by_contig.items()}
    ends = {c: np.array([regions[i].interval.end for i in numbers]) for c, numbers in by_contig.items()}
    counts, sums = np.zeros(len(regions), dtype=np.int64), np.zeros(len(regions))
    scored = base_scores(genome, around, model, strand, streams=streams, piece=piece, on_bases=on_bases)
    for scores in scored:
        known = ~np.isnan(scores.log2p)
        total = np.concatenate(([0.0], np.cumsum(np.where(known, scores.log2p, 0.0))))
        count = np.concatenate(([0], np.cumsum(known)))
        first = np.maximum(starts[scores.contig], scores.start) - scores.start
        last = np.minimum(ends[scores.contig], scores.end) - scores.start
        here = np.flatnonzero(first < last)
        which = np.array(by_contig[scores.contig])[here]
        sums[which] += total[last[here]] - total[first[here]]
        counts[which] += count[last[here]] - count[first[here]]
    return [RegionScore(r, int(n), float(s)) for r, n, s in zip(regions, counts, sums, strict=True)]


def read_for(genome: Genome, regions: Sequence[Region], context: int) -> list[Interval]:
    """Return what is read for regions: at least `context` bases around each, as far as its contig goes."""
    return union(
        Interval(
            region.interval.contig,
            max(region.interval.start - context, 0),
            min(region.interval.end + context, genome[region.interval.contig].length),
        )
        for region in regions
    )
