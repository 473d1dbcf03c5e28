"""Which base depends on which: how a change of one base changes the prediction of every other.

After da Silva et al., "Nucleotide dependency analysis of DNA language models": the dependency of base j on base i is
the largest change of the log odds of any letter at j, over the letters and over the three changes of base i. The model
reads one way, so that the forward strand tells of bases after i, and the reverse strand of bases before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnet_dna.annotation.regions import parse_region
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.files import write_beside
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import GenomeLike, open_genome
from hnet_dna.inference.branches import Branches, Front, Reading, cost
from hnet_dna.inference.load import load_model
from hnet_dna.model.lm import HNetLM
from hnet_dna.progress import OnProgress, Work, ignore
from hnet_dna.sequence.codes import Codes, is_acgt, reverse_complement
from hnet_dna.sequence.interval import Interval

LONGEST = 2000  # bases


@dataclass(frozen=True)
class Dependencies:
    """How changes of L bases change predictions of the same bases.

    Attributes:
        interval: where the bases lie.
        codes: (L,) nucleotide codes.
        matrix: (L, L) in float32. Row i, column j: the largest absolute change, in bits, of the log2 odds of A, C, G or
            T at base j when base i is replaced by another. 0 on the diagonal; NaN in rows of bases other than A, C, G
            and T. Above the diagonal on the forward strand, below it on the reverse strand.
    """

    interval: Interval
    codes: Codes
    matrix: NDArray[np.float32]

    def save(self, path: str | Path) -> None:
        """Write an .npz file with `matrix`, `codes`, `contig`, `start` and `end`."""
        with write_beside(Path(path)) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                matrix=self.matrix,
                codes=self.codes,
                contig=np.array(self.interval.contig),
                start=np.array(self.interval.start),
                end=np.array(self.interval.end),
            )


def dependencies(
    region: str | Interval,
    genome: GenomeLike,
    model: str | Path | HNetLM,
    *,
    context: int = 4096,
    on_progress: OnProgress = ignore,
) -> Dependencies:
    """Return how a change of each base of a region changes the prediction of each other.

    The time grows with the square of the length: each base is replaced by three others, on both strands, and the rest
    of the region is read again.

    Args:
        region: `contig:start-end` (1-based, both ends included) or `Interval`, of at most 2,000 bases without N.
        genome: anything that `open_genome` takes.
        model: anything that `load_model` takes.
        context: bases read before the region on either strand, where its stretch between runs of N has them.
        on_progress: called with reports.

    Raises:
        UsageError: text that is not a region, or a region of more than 2,000 bases.
        SequenceError: the genome lacks the contig, it ends before the region does, or the region has an N.

    Example:
        >>> from hnet_dna import dependencies
        >>> dependencies("chr1:2-7", {"chr1": "ACGTTGCA"}, "five-genomes").matrix.shape
        (6, 6)
    """
    opened, loaded = open_genome(genome), load_model(model)
    interval = parse_region(region, opened) if isinstance(region, str) else region
    check_region(opened, interval)
    codes = np.array(opened.codes(interval))
    (stretch,) = [
        part
        for part in opened.segments(Interval(interval.contig, 0, opened[interval.contig].length))
        if part.start <= interval.start < part.end
    ]
    before = opened.codes(Interval(interval.contig, max(stretch.start, interval.start - context), interval.start))
    after = opened.codes(Interval(interval.contig, interval.end, min(stretch.end, interval.end + context)))
    branches = Branches(loaded)
    with Work(on_progress, "finding dependencies", 2 * len(interval), "changes") as work:
        forward = _dependencies(branches, before, codes, work)
        backward = _dependencies(branches, reverse_complement(after), reverse_complement(codes), work)
    matrix = np.triu(forward) + np.tril(backward[::-1, ::-1])
    matrix[~is_acgt(codes)] = np.nan
    return Dependencies(interval, codes, matrix.astype(np.float32))


def check_region(genome: Genome, interval: Interval) -> None:
    """Raise an error if there can be no dependencies of a region."""
    if len(interval) > LONGEST:
        raise UsageError(f"dependencies are for at most {LONGEST:,} bases; {interval} has {len(interval):,}")
    if genome.segments(interval) != [interval]:
        raise SequenceError(f"{genome.source.name}: {interval} has N in it; dependencies need a region without")


def _dependencies(branches: Branches, before: Codes, codes: Codes, work: Work) -> NDArray[np.float64]:
    """Return (L, L) dependencies of bases on those before them, 0 where there is none."""
    length = len(codes)
    matrix = np.zeros((length, length))
    begin = branches.start(1)
    if len(before):
        begin, _ = branches.advance(begin, [before])
    _, (whole,) = branches.advance(begin, [codes])
    reference = _log_odds(whole)
    front, at = begin, 0
    waiting: list[tuple[Front, int, list[tuple[int, Codes]]]] = []  # with where each stands, and changed bases
    for base in np.flatnonzero(is_acgt(codes)).tolist():
        if base - at >= branches.stride or not waiting:
            if base > at:
                front, _ = branches.advance(front, [codes[at:base]])
            at = base
            waiting.append((front, at, []))
        changes = waiting[-1][2]
        for other in {0, 1, 2, 3} - {int(codes[base]) & 3}:
            changed = np.concatenate([codes[at:base], np.array([other], dtype=np.uint8), codes[base + 1 :]])
            changes.append((base, changed))
        bases = sum(cost(len(changed)) for _, _, those in waiting for _, changed in those)
        if bases >= branches.batch or front.state is None:
            _compare(branches, waiting, reference, matrix, work)
            waiting = []
    _compare(branches, waiting, reference, matrix, work)
    return matrix


def _compare(
    branches: Branches,
    waiting: list[tuple[Front, int, list[tuple[int, Codes]]]],
    reference: NDArray[np.float64],
    matrix: NDArray[np.float64],
    work: Work,
) -> None:
    if not waiting:
        return
    planned = [(row, at, base, changed) for row, (_, at, those) in enumerate(waiting) for base, changed in those]
    joined = Front.joined([front for front, _, _ in waiting])
    readings = branches.branch(joined, [one[0] for one in planned], [one[3] for one in planned])
    for row, reading in readings:
        _, at, base, _ = planned[row]
        change = np.abs(_log_odds(reading)[base + 1 - at :] - reference[base + 1 :]).max(axis=1, initial=0)
        matrix[base, base + 1 :] = np.maximum(matrix[base, base + 1 :], change)
    work.add(len({base for _, _, base, _ in planned}))


def _log_odds(reading: Reading) -> NDArray[np.float64]:
    """Return log2 (p / (1 - p)) of each letter at each base, (L, 4)."""
    p = np.clip(np.exp2(reading.log2p), 0, 1 - 1e-7)
    odds: NDArray[np.float64] = np.maximum(reading.log2p, np.log2(1e-7)) - np.log2(1 - p)
    return odds
