"""Which bases are read, and what a model makes of them: boundaries and bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hnet_dna.data.split import split_of_run
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.explanation.axis import Axis, Positions
from hnet_dna.explanation.controls import shuffle_dinucleotides
from hnet_dna.explanation.measures import Values
from hnet_dna.genome.fasta import Piece
from hnet_dna.genome.genome import Genome, whole
from hnet_dna.inference.strands import ReverseStrand, groups
from hnet_dna.inference.stream import annotate
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import LETTER_BITS
from hnet_dna.sequence.interval import Interval, union

TILE = 100_000


@dataclass(frozen=True)
class Reading:
    """What to read.

    Attributes:
        intervals: disjoint, in the genome's order.
        rule: how they were chosen, in words.
    """

    intervals: tuple[Interval, ...]
    rule: str

    def stretches(self, genome: Genome) -> list[Interval]:
        """Return what the model reads as sequences of their own: what lies between runs of N."""
        return [segment for interval in self.intervals for segment in genome.segments(interval)]


def choose(genome: Genome, model: Path, bases: int, seed: int) -> Reading:
    """Choose about so many bases: of what a run folder held out of this genome, else of the whole genome.

    More than that is cut into tiles of 100 kb (or fewer, at the end of a stretch), of which every n-th is taken, from a
    place that the seed decides.
    """
    split = split_of_run(genome, model)
    held_out = split.held_out if split else ()
    candidates = held_out or [whole(contig) for contig in genome.contigs]
    rule = "the held-out part of the run's split" if held_out else "the whole genome"
    segments = [segment for interval in candidates for segment in genome.segments(interval)]
    total = sum(map(len, segments))
    if total < 2:
        raise SequenceError(f"{genome.source}: nothing to read: no two letters A, C, G, T in a row")
    if total <= bases:
        return Reading(tuple(candidates), f"all of {rule}")
    size = min(TILE, bases)
    tiles = [
        Interval(s.contig, start, min(start + size, s.end)) for s in segments for start in range(s.start, s.end, size)
    ]
    share, start = bases / total, float(np.random.default_rng(seed).random())
    count = np.floor(np.arange(len(tiles) + 1) * share + start)
    taken = np.flatnonzero(np.diff(count)).tolist() or [int(start * len(tiles))]
    joined = union(tiles[i] for i in taken)
    order = {contig.name: index for index, contig in enumerate(genome.contigs)}
    joined.sort(key=lambda interval: (order[interval.contig], interval.start))
    told = f"{len(taken):,} of the {len(tiles):,} tiles of {size:,} bases in {rule}, evenly spaced, seed {seed}"
    return Reading(tuple(joined), told)


@dataclass(frozen=True)
class Found:
    """What a model makes of the bases on an axis.

    Attributes:
        boundaries: sorted positions at which chunks begin, by stage, outermost first.
        bits: (size,) -log2 p of each base given those before it; NaN where there is no base A, C, G or T.
    """

    boundaries: list[Positions]
    bits: Values


def read(
    model: HNetLM, pieces: Iterable[Piece], axis: Axis, on_bases: Callable[[int], None] = lambda bases: None
) -> Found:
    """Read pieces that the axis has, once, forward."""
    if not model.n_chunking_stages:
        raise UsageError("this model has no chunking stage, so there are no boundaries to explain")
    found: list[list[Positions]] = [[np.zeros(0, dtype=np.int64)] for _ in range(model.n_chunking_stages)]
    bits = np.full(axis.size, np.nan)
    for bases in annotate(pieces, model):
        for places, stage in zip(found, bases.stages, strict=True):
            at = axis.place(bases.contig, stage.position[stage.mask])
            places.append(at[at >= 0])
        at = axis.place(bases.contig, np.arange(bases.start, bases.end))
        known = (at >= 0) & ((bases.codes & LETTER_BITS) < 4)
        bits[at[known]] = bases.bits[known]
        on_bases(len(bases.codes))
    return Found([np.sort(np.concatenate(places)) for places in found], bits)


def reverse_boundaries(model: HNetLM, genome: Genome, intervals: Sequence[Interval], axis: Axis) -> list[Positions]:
    """Return the same for the other strand's reading, each as the position after the border between two bases.

    A chunk that begins at base i of the other strand ends with that base here, so that the border lies before i + 1.
    """
    found: list[list[Positions]] = [[np.zeros(0, dtype=np.int64)] for _ in range(model.n_chunking_stages)]
    with ReverseStrand(genome, model, stage=model.n_chunking_stages - 1) as reverse:
        for group in groups(intervals):
            reverse.run(group)
            for interval in group:
                stages = reverse.stages(interval.contig, interval.start, interval.end)
                for places, stage in zip(found, stages, strict=True):
                    at = axis.place(interval.contig, stage.position[stage.mask] + 1)
                    places.append(at[at >= 0])
    return [np.sort(np.concatenate(places)) for places in found]


def shuffled_pieces(genome: Genome, stretches: Iterable[Interval], seed: int) -> Iterator[Piece]:
    """Yield each stretch with its dinucleotides shuffled."""
    random = np.random.default_rng(seed)
    for stretch in stretches:
        codes = shuffle_dinucleotides(genome.codes(stretch), random)
        yield Piece(stretch.contig, stretch.start, codes, uracils=0)
