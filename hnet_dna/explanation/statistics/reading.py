"""Which bases are read, and what a model makes of them: boundaries and bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hnet_dna.data.run_record import split_of_run
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.explanation.statistics.axis import Axis, Positions
from hnet_dna.explanation.statistics.controls import shuffle_dinucleotides
from hnet_dna.explanation.statistics.measures import Values
from hnet_dna.genome.fasta import Piece
from hnet_dna.genome.genome import Genome, whole
from hnet_dna.inference.strands import read_strands
from hnet_dna.inference.stream import annotate
from hnet_dna.model.lm import HNetLM
from hnet_dna.plural import counted
from hnet_dna.sequence.codes import is_acgt
from hnet_dna.sequence.interval import Interval, union

TILE = 100_000


@dataclass(frozen=True)
class Selection:
    """The part of a genome that is read.

    Attributes:
        intervals: disjoint, in the genome's order.
        rule: how they were chosen, in words.
        bases: about how many were to be read; there may be fewer.
    """

    intervals: tuple[Interval, ...]
    rule: str
    bases: int

    def stretches(self, genome: Genome) -> list[Interval]:
        """Return the sequences that the model reads separately: what lies between runs of N."""
        return [segment for interval in self.intervals for segment in genome.segments(interval)]


def select(genome: Genome, model: str | Path, bases: int, seed: int) -> Selection:
    """Select about this many bases: of the part that a run held out of this genome, else of the whole genome.

    `model` is the folder of a run; anything else, or an empty name, has held nothing out.

    A larger part is cut into tiles of 100 kb (fewer at the end of a stretch). Tiles at even distances are taken, from
    a place that the seed decides.

    Raises:
        SequenceError: no two letters A, C, G, T follow each other.
    """
    split = split_of_run(genome, Path(model)) if str(model) else None
    held_out = split.held_out if split else ()
    candidates = held_out or [whole(contig) for contig in genome.contigs]
    rule = "the held-out part of the run's split" if held_out else "the whole genome"
    segments = [segment for interval in candidates for segment in genome.segments(interval)]
    total = sum(map(len, segments))
    if total < 2:
        raise SequenceError(f"{genome.source}: nothing to read: no two letters A, C, G, T in a row")
    if total <= bases:
        return Selection(tuple(candidates), f"all of {rule}", bases)
    size = min(TILE, bases)
    tiles = list(tiled(segments, size))
    share, start = bases / total, float(np.random.default_rng(seed).random())
    count = np.floor(np.arange(len(tiles) + 1) * share + start)
    taken = np.flatnonzero(np.diff(count)).tolist() or [int(start * len(tiles))]
    joined = union(tiles[i] for i in taken)
    order = {contig.name: index for index, contig in enumerate(genome.contigs)}
    joined.sort(key=lambda interval: (order[interval.contig], interval.start))
    of = f"{counted(len(tiles), 'tile')} of {counted(size, 'base')}"
    rule = f"{len(taken):,} of the {of} in {rule}, evenly spaced, seed {seed}"
    return Selection(tuple(joined), rule, bases)


def tiled(stretches: Iterable[Interval], size: int) -> Iterator[Interval]:
    """Cut stretches into tiles of `size` bases; the last one of a stretch may have fewer."""
    for stretch in stretches:
        for start in range(stretch.start, stretch.end, size):
            yield Interval(stretch.contig, start, min(start + size, stretch.end))


@dataclass(frozen=True)
class Reading:
    """What a model makes of the bases on an axis.

    Attributes:
        boundaries: sorted positions at which chunks begin, by stage, outermost first.
        bits: (size,) -log2 p of each base given those before it; NaN where there is no base A, C, G or T.
    """

    boundaries: list[Positions]
    bits: Values


def read(
    model: HNetLM, pieces: Iterable[Piece], axis: Axis, on_bases: Callable[[int], None] = lambda bases: None
) -> Reading:
    """Read pieces of the axis once, forward.

    Raises:
        UsageError: the model has no chunking stage.
    """
    if not model.n_chunking_stages:
        raise UsageError("this model has no chunking stage, so there are no boundaries to explain")
    boundaries: list[list[Positions]] = [[] for _ in range(model.n_chunking_stages)]
    bits = np.full(axis.size, np.nan)
    for bases in annotate(pieces, model):
        for places, stage in zip(boundaries, bases.stages, strict=True):
            places.append(axis.place(bases.contig, stage.position[stage.mask]))
        at = axis.place(bases.contig, np.arange(bases.start, bases.end))
        known = (at >= 0) & is_acgt(bases.codes)
        bits[at[known]] = bases.bits[known]
        on_bases(len(bases.codes))
    return Reading([_sorted(places) for places in boundaries], bits)


def reverse_boundaries(model: HNetLM, genome: Genome, intervals: Sequence[Interval], axis: Axis) -> list[Positions]:
    """Return the boundaries of the other strand's reading by stage, as positions on the axis.

    A chunk that begins at base i of the other strand ends with that base on this one, so that the border lies before
    base i + 1.
    """
    boundaries: list[list[Positions]] = [[] for _ in range(model.n_chunking_stages)]
    for reading in read_strands(genome, intervals, model, "-", stages=model.n_chunking_stages):
        assert reading.minus is not None
        for places, stage in zip(boundaries, reading.minus.stages, strict=True):
            places.append(axis.place(reading.part.contig, stage.position[stage.mask] + 1))
    return [_sorted(places) for places in boundaries]


def _sorted(places: Sequence[Positions]) -> Positions:
    """Return places on an axis, in order; -1, which stands for places off the axis, is left out."""
    joined = np.concatenate([np.zeros(0, dtype=np.int64), *places])
    return np.sort(joined[joined >= 0])


def shuffled_pieces(genome: Genome, stretches: Iterable[Interval], seed: int) -> Iterator[Piece]:
    """Yield each stretch with its dinucleotides shuffled."""
    random = np.random.default_rng(seed)
    for stretch in stretches:
        codes = shuffle_dinucleotides(genome.codes(stretch), random)
        yield Piece(stretch.contig, stretch.start, codes, uracils=0)
