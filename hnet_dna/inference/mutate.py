"""All mutations of a region: what a model makes of every base in the place of every other, and of every deletion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnet_dna.annotation.regions import parse_region
from hnet_dna.errors import SequenceError
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import GenomeLike, open_genome
from hnet_dna.inference.effects import How
from hnet_dna.inference.load import load_model
from hnet_dna.inference.variants import Variant, VariantReader
from hnet_dna.model.lm import HNetLM
from hnet_dna.progress import OnProgress, Work, ignore
from hnet_dna.sequence.codes import LETTER_BITS, Codes, is_acgt, to_text
from hnet_dna.sequence.interval import Interval, union
from hnet_dna.sequence.strand import Strand, check_strand
from hnet_dna.tables import data_frame

MUTANTS = "ACGT-"  # what stands in the place of a base; the last is nothing
_PIECE = 1 << 13  # bases whose mutations are held at once
_BOUNDARIES = 64
_DELETED = [4]  # columns


@dataclass(frozen=True)
class Boundaries:
    """What mutations of L bases do to the chunk boundaries after them, on S strands (`+` before `-`).

    Arrays are (S, L, 5); the last axis is that of `MUTANTS`. Where there is no mutation, they are 0 and NaN.

    Attributes:
        lost, gained: boundaries that only the reference has, and that only the mutant has.
        change: the largest change of boundary probability in either direction, mutant minus reference.
        distance: where that is, in bases after the mutation in the direction of the strand; 0 is the base itself.
        share: (L, 5) of all mutations of the same kind (base to base, or deletion) in these L bases, how many change a
            boundary on either strand at least as much, this one included: 0.01 is one in a hundred.
    """

    lost: NDArray[np.int64]
    gained: NDArray[np.int64]
    change: NDArray[np.float64]
    distance: NDArray[np.int64]
    share: NDArray[np.float64]


@dataclass(frozen=True)
class Mutations:
    """All mutations of L consecutive bases.

    Attributes:
        interval: where the bases lie.
        codes: (L,) nucleotide codes.
        llr: (L, 5) log2 p(window with A, C, G, T or nothing in the place of the base) - log2 p(window as it is), the
            mean of the strands; NaN in the column of the base itself, for bases other than A, C, G and T, and for
            deletions that were not asked for.
        entropy: (L,) of the model's prediction of each base, in bits, the mean of the strands.
        strands: that were read, `+` before `-`.
        boundaries: what happens to chunks; None where that was not asked for.
    """

    interval: Interval
    codes: Codes
    llr: NDArray[np.float64]
    entropy: NDArray[np.float64]
    strands: tuple[str, ...]
    boundaries: Boundaries | None

    @property
    def effect(self) -> NDArray[np.float64]:
        """The mean log-likelihood ratio of the three other bases, (L,); NaN where the base is not A, C, G or T."""
        effect: NDArray[np.float64] = np.nansum(self.llr[:, :4], axis=1) / 3
        return np.where(is_acgt(self.codes), effect, np.nan)

    def columns(self) -> dict[str, Any]:
        """Return one row for each mutation: chrom, start, end (0-based), ref, alt (`-`: deleted), llr, entropy.

        With boundaries also lost, gained, change and distance for each strand (`_plus`, `_minus`), and boundary_share.
        """
        row, mutant = np.nonzero(~np.isnan(self.llr))
        letters = np.array(list(to_text(self.codes & np.uint8(LETTER_BITS))))
        columns: dict[str, Any] = {
            "chrom": np.full(len(row), self.interval.contig),
            "start": self.interval.start + row,
            "end": self.interval.start + row + 1,
            "ref": letters[row],
            "alt": np.array(list(MUTANTS))[mutant],
            "llr": self.llr[row, mutant],
            "entropy": self.entropy[row],
        }
        if self.boundaries is None:
            return columns
        for index, strand in enumerate(self.strands):
            for name in ("lost", "gained", "change", "distance"):
                values = getattr(self.boundaries, name)[index, row, mutant]
                columns[f"{name}_{'plus' if strand == '+' else 'minus'}"] = values
        return {**columns, "boundary_share": self.boundaries.share[row, mutant]}

    def to_pandas(self) -> Any:
        """Return `columns` as a data frame (needs pandas)."""
        return data_frame(self.columns())


def mutate(
    regions: str | Interval | Iterable[str | Interval],
    genome: GenomeLike,
    model: str | Path | HNetLM,
    *,
    deletions: bool = False,
    window: int = 512,
    context: int = 4096,
    strand: Strand = "both",
    boundaries: int | None = None,
    jobs: int = 1,
    on_progress: OnProgress = ignore,
) -> Iterator[Mutations]:
    """Yield what a model makes of every single-base mutation, in pieces of at most 8,192 bases.

    The reference is read once for all mutations of a region, and only the half window after a mutation is read again:
    a mutation costs a third of what `score_variants` needs for a window of its own. The scores are those of
    `score_variants` with the same `context`. A deletion leaves one base fewer to predict, which by itself adds about
    as many bits as a base costs: compare deletions with deletions.

    Args:
        regions: one or several, as `contig:start-end` (1-based, both ends included) or `Interval`. Overlapping ones are
            joined; the order is that of contigs and positions.
        genome: anything that `open_genome` takes.
        model: anything that `load_model` takes.
        deletions: whether to delete each base too.
        window: the likelihoods that are compared include half this many bases after a mutation.
        context: the least number of bases read before a mutation, where the stretch between runs of N has them.
        strand: which strand's likelihood, or the mean of both.
        boundaries: bases after a mutation whose chunk boundaries are compared; 0 for none. By default 64, or as many as
            half a window allows, where the model has chunks.
        jobs: number of processes.
        on_progress: called with reports.

    Raises:
        UsageError: text that is not a region, or boundaries of a model that has no chunks.
        SequenceError: the genome lacks a contig, it ends before a region does, or a region has no A, C, G or T.

    Example:
        >>> from hnet_dna import mutate
        >>> (mutations,) = mutate("chr1:3-6", {"chr1": "ACGTTGCA"}, "five-genomes")
        >>> mutations.llr.shape
        (4, 5)
    """
    opened, loaded = open_genome(genome), load_model(model)
    several = [regions] if isinstance(regions, str | Interval) else list(regions)
    intervals = [parse_region(one, opened) if isinstance(one, str) else one for one in several]
    for interval in intervals:
        if not is_acgt(opened.codes(interval)).any():
            raise SequenceError(f"{opened.source.name}: {interval} has no A, C, G or T, so there is nothing to mutate")
    if boundaries is None:
        boundaries = min(_BOUNDARIES, max(window // 2 - 1, 0)) if loaded.n_chunking_stages else 0
    how = How(window, check_strand(strand), context, boundaries)
    order = {contig: number for number, contig in enumerate(opened)}
    joined = sorted(union(intervals), key=lambda one: (order[one.contig], one.start))
    total = (1 + deletions) * sum(map(len, joined))
    with (
        VariantReader(opened, loaded, how, jobs=jobs) as reader,
        Work(on_progress, "mutating", total, "places") as work,
    ):
        for interval in joined:
            for start in range(interval.start, interval.end, _PIECE):
                piece = Interval(interval.contig, start, min(start + _PIECE, interval.end))
                yield _mutate(opened, piece, reader, how, deletions, work)


def _mutate(
    genome: Genome, interval: Interval, reader: VariantReader, how: How, deletions: bool, work: Work
) -> Mutations:
    codes = np.array(genome.codes(interval))
    planned = list(_planned(genome, interval, codes, deletions))
    llr, entropy = np.full((len(codes), len(MUTANTS)), np.nan), np.full(len(codes), np.nan)
    shape = (len(how.strands), *llr.shape)
    lost, gained, distance = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    change = np.full(shape, np.nan)
    effects = reader.read((variant for _, _, variant in planned), on_variants=work.add)
    for (row, mutants, _), effect in zip(planned, effects, strict=True):
        llr[row, mutants] = effect.llr
        if mutants != _DELETED:
            entropy[row] = -(np.exp2(effect.log2p) * effect.log2p).sum(axis=1).mean()
        for mutant, shifts in zip(mutants, effect.shifts, strict=False):
            for strand, shift in enumerate(shifts):
                place = strand, row, mutant
                lost[place], gained[place], change[place], distance[place] = shift
    work.add((1 + deletions) * len(codes) - len(planned))  # what cannot be changed
    boundaries = None
    if how.boundaries:
        boundaries = Boundaries(lost, gained, change, distance, _shares(np.abs(change).max(axis=0)))
    return Mutations(interval, codes, llr, entropy, how.strands, boundaries)


def _planned(
    genome: Genome, interval: Interval, codes: Codes, deletions: bool
) -> Iterator[tuple[int, list[int], Variant]]:
    """Yield row, columns and variant: the three substitutions of a base as one, and its deletion as VCF writes it."""
    contig = interval.contig
    for row in np.flatnonzero(is_acgt(codes)).tolist():
        at, own = interval.start + row, int(codes[row]) & LETTER_BITS
        others = [base for base in range(4) if base != own]
        ref = MUTANTS[own]
        yield row, others, Variant(Interval(contig, at, at + 1), ref, tuple(MUTANTS[base] for base in others))
        if not deletions:
            continue
        before, after = _letter(genome, contig, at - 1), _letter(genome, contig, at + 1)
        if before in MUTANTS:
            yield row, _DELETED, Variant(Interval(contig, at - 1, at + 1), before + ref, (before,))
        elif after in MUTANTS:
            yield row, _DELETED, Variant(Interval(contig, at, at + 2), ref + after, (after,))


def _letter(genome: Genome, contig: str, at: int) -> str:
    if not 0 <= at < genome[contig].length:
        return "N"
    return to_text(genome.codes(Interval(contig, at, at + 1)) & np.uint8(LETTER_BITS))


def _shares(largest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each value of (L, 5) what share of those of its kind is at least as large, NaN where it is NaN."""
    shares = np.full(largest.shape, np.nan)
    for columns in (slice(0, 4), slice(4, 5)):
        values = largest[:, columns]
        known = np.sort(values[~np.isnan(values)])
        rank = len(known) - np.searchsorted(known, values, side="left")
        shares[:, columns] = np.where(np.isnan(values), np.nan, rank / max(len(known), 1))
    return shares
