"""One locus as a model reads it, base by base, and the choice of typical loci that a report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hnet_dna.annotation.feature import GENES, TRANSPOSONS
from hnet_dna.annotation.reader import Feature, classes_of
from hnet_dna.annotation.regions import Region
from hnet_dna.errors import UsageError
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.pieces import forward_pieces
from hnet_dna.inference.stream import annotate
from hnet_dna.model.lm import HNetLM
from hnet_dna.plural import counted
from hnet_dna.sequence.codes import Codes, is_acgt
from hnet_dna.sequence.interval import Interval, intersection, overlapping

CONTEXT = 4096  # bases that are read before a locus
LONGEST = 2_000_000
SHOWN = 4000  # bases around a locus in a report
_WIDE = {*GENES, "intergenic"}  # classes that the row of genes shows


@dataclass(frozen=True)
class StageTrack:
    """One chunking stage over a locus of L bases.

    Attributes:
        prob: (L,) boundary probability; NaN where the stage does not decide: bases inside chunks of the stage outside,
            N, and the first base of a stretch, which begins a chunk by definition.
        start, end: (K,) of the chunks that overlap the locus, 0-based half-open in the contig. The first may begin
            before the locus; the last is cut at its end.
    """

    prob: NDArray[np.float32]
    start: NDArray[np.int64]
    end: NDArray[np.int64]


@dataclass(frozen=True)
class Locus:
    """L bases in a model's forward reading.

    Attributes:
        interval: where they lie.
        length: of the contig, in bases.
        codes: (L,) nucleotide codes.
        bits: (L,) -log2 p of each base given those before it; NaN where it is not A, C, G or T.
        stages: outermost first.
        genes: lines of kind `gene` that overlap the locus, sorted.
        others: other classes of the annotation, as disjoint intervals by name; derived ones (`intron`) too. Transposons
            are by their own names.
    """

    interval: Interval
    length: int
    codes: Codes
    bits: NDArray[np.float64]
    stages: tuple[StageTrack, ...]
    genes: tuple[Feature, ...]
    others: Mapping[str, Sequence[Interval]]


def read_locus(model: HNetLM, genome: Genome, interval: Interval, features: Sequence[Feature] = ()) -> Locus:
    """Read an interval of at least one base, from up to `CONTEXT` bases before it.

    Raises:
        UsageError: more than `LONGEST` bases.
        SequenceError: it ends past its contig, or the genome lacks the contig.
    """
    if len(interval) > LONGEST:
        raise UsageError(f"{interval} has {counted(len(interval), 'base')}; give {LONGEST:,} or fewer")
    codes = genome.codes(interval)
    read = Interval(interval.contig, max(interval.start - CONTEXT, 0), interval.end)
    bits = np.full(len(read), np.nan)
    probs = [np.full(len(read), np.nan, dtype=np.float32) for _ in range(model.n_chunking_stages)]
    starts: list[list[NDArray[np.int64]]] = [[] for _ in probs]
    stretch_ends = []
    for bases in annotate(forward_pieces(genome, [read]), model):
        at = bases.start - read.start
        bits[at : at + len(bases.codes)] = np.where(is_acgt(bases.codes), bases.bits, np.nan)
        for prob, begins, stage in zip(probs, starts, bases.stages, strict=True):
            prob[stage.position - read.start] = stage.prob
            if bases.first:
                prob[at] = np.nan
            begins.append(stage.position[stage.mask])
        if bases.last:
            stretch_ends.append(bases.end)
    skip = interval.start - read.start
    stages = tuple(
        _track(prob[skip:], begins, stretch_ends, interval) for prob, begins in zip(probs, starts, strict=True)
    )
    genes, others = annotation_of(interval, genome, features)
    return Locus(interval, genome[interval.contig].length, codes, bits[skip:], stages, genes, others)


def annotation_of(
    interval: Interval, genome: Genome, features: Sequence[Feature]
) -> tuple[tuple[Feature, ...], Mapping[str, Sequence[Interval]]]:
    """Return `genes` and `others` of a `Locus`."""
    overlap = overlapping((feature.interval for feature in features), [interval])
    here = [feature for feature, is_here in zip(features, overlap, strict=True) if is_here]
    genes = sorted((f for f in here if f.kind in GENES), key=lambda f: f.interval)
    named = [replace(f, kind=f.name or f.kind) if f.kind in TRANSPOSONS else f for f in here]
    others = {kind: parts for kind, parts in classes_of(named, genome).items() if kind not in _WIDE}
    if "intron" in others:  # of a gene that reaches out of the locus, exons are known only inside it
        others["intron"] = intersection(others["intron"], [interval])
    return tuple(genes), others


def typical(
    names: Sequence[str],
    features: Sequence[Feature],
    repeats: Sequence[Region],
    genome: Genome,
    read: Sequence[Interval],
    most: int = 6,
) -> dict[str, Interval]:
    """Choose one locus for each class: the one of median length among those that were read.

    What the model does there has no influence on the choice.

    Returns:
        Loci by class, in the order of the names, of the first `most` classes that annotation or repeats have.
    """
    classes = classes_of(features, genome)
    by_name: dict[str, list[Interval]] = {}
    for region in repeats:
        by_name.setdefault(region.name or "unnamed", []).append(region.interval)
    loci = {}
    for name in names:
        intervals = classes.get(name) or by_name.get(name, [])
        # igv.js takes what follows the first colon of a locus for positions.
        candidates = [i for i in intersection(intervals, read) if ":" not in i.contig]
        if candidates:
            loci[name] = sorted(candidates, key=len)[len(candidates) // 2]
        if len(loci) == most:
            break
    return loci


def around(middle: Interval, genome: Genome) -> Interval:
    """Return `SHOWN` bases of the contig with an interval in their middle; of a longer interval, its first bases."""
    length = genome[middle.contig].length
    start = max(middle.start - max(SHOWN - len(middle), 0) // 2, 0)
    end = min(start + SHOWN, length)
    return Interval(middle.contig, max(end - SHOWN, 0), end)


def _track(
    prob: NDArray[np.float32], begins: list[NDArray[np.int64]], stretch_ends: list[int], interval: Interval
) -> StageTrack:
    start = np.concatenate([np.zeros(0, dtype=np.int64), *begins])
    # A chunk ends where the next one begins or where its stretch ends, whichever comes first.
    edges = np.unique(np.concatenate([start, np.array(stretch_ends, dtype=np.int64)]))
    end = edges[np.searchsorted(edges, start, side="right")] if len(start) else start
    shown = end > interval.start
    return StageTrack(prob, start[shown], end[shown])
