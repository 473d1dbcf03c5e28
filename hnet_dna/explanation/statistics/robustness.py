"""How edits of the sequence change boundaries and bits, beside k-mers and an untrained model.

An edit leaves a border between two bases untouched if both bases are there before and after it, unchanged and side by
side. Only untouched borders are compared, each with itself: coordinates are mapped through the edit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from hnet_dna.evaluation.breakdown import resampled
from hnet_dna.explanation.statistics.axis import Positions
from hnet_dna.explanation.statistics.measures import Values, percentiles, ratio
from hnet_dna.explanation.statistics.reading import tiled
from hnet_dna.genome.fasta import Piece
from hnet_dna.genome.genome import Genome
from hnet_dna.inference.stream import annotate
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import LETTER_BITS, Codes, is_acgt
from hnet_dna.sequence.interval import Interval

RATES = (0.001, 0.01, 0.1)
WITHIN = (16, 64, 256)  # bases after a single edit in which borders are compared
WINDOWS, WINDOW = 32, 4096  # sequences that get random edits, and their bases
SINGLES, SINGLE_WINDOW = 256, 768  # sequences that get one edit, in the middle
LEAST_WINDOWS, LEAST_SINGLES = 4, 32
FULL = (
    1_000_000  # bases to read, of fewer of which fewer sequences get edits, so that these take no longer than the rest
)
SHORTEST = 64
Edit = Literal["substitution", "insertion", "deletion"]
EDITS: tuple[Edit, ...] = get_args(Edit)
_SUMS = 7


@dataclass(frozen=True)
class Segmented:
    """One sequence, segmented.

    Attributes:
        begins: (stages, L) whether a chunk of the stage begins at a base.
        bits: (L,) -log2 p of each base; None where nothing is predicted.
    """

    begins: NDArray[np.bool_]
    bits: Values | None


Segmentation: TypeAlias = Callable[[Sequence[Codes]], Iterable[Segmented]]


@dataclass(frozen=True)
class Edited:
    """A sequence with edits.

    Attributes:
        codes: (L,) as edited.
        source: (L,) where each base stood before; -1 for inserted ones.
        new: (L,) whether it was substituted or inserted.
    """

    codes: Codes
    source: Positions
    new: NDArray[np.bool_]

    @property
    def untouched(self) -> Positions:
        """Bases whose border with the base before is untouched."""
        steps = np.flatnonzero(np.diff(self.source) == 1) + 1
        kept: Positions = steps[~(self.new[steps] | self.new[steps - 1]) & (self.source[steps - 1] >= 0)]
        return kept


def edit(codes: Codes, kind: Edit, places: Positions, random: np.random.Generator) -> Edited:
    """Edit a sequence at sorted places, at each of which it has A, C, G or T.

    A substitution puts one of the three other letters there, an insertion one of four letters before the base, and a
    deletion removes the base.
    """
    source = np.arange(len(codes), dtype=np.int64)
    new = np.zeros(len(codes), dtype=bool)
    codes = np.array(codes & LETTER_BITS)
    if kind == "substitution":
        codes[places] = (codes[places] + random.integers(1, 4, size=len(places))) % 4
        new[places] = True
        return Edited(codes, source, new)
    if kind == "deletion":
        return Edited(np.delete(codes, places), np.delete(source, places), np.delete(new, places))
    letters = random.integers(0, 4, size=len(places))
    inserted = (np.insert(codes, places, letters), np.insert(source, places, -1), np.insert(new, places, True))
    return Edited(*inserted)


def rows(
    segmentations: Mapping[str, Segmentation],
    stages: int,
    windows: Sequence[Codes],
    singles: Sequence[Codes],
    seed: int,
    on_windows: Callable[[float], None] = lambda share: None,
) -> list[tuple[Any, ...]]:
    """Compare segmentations with themselves after edits.

    Args:
        segmentations: by name.
        stages: of each of them.
        windows: sequences that get random edits of each kind, each base but the first with a probability in `RATES`.
        singles: sequences that get one edit of each kind in the middle.
        seed: of the edits, which are the same for all segmentations.
        on_windows: called with the share of the sequences read.

    Returns:
        Rows in the order of the columns of `robustness`.
    """
    random = np.random.default_rng(seed)
    plan: list[tuple[Edit, float | str, Sequence[Codes], list[Positions]]] = []
    for kind in EDITS:
        plan += [(kind, rate, windows, [_random_places(w, rate, random) for w in windows]) for rate in RATES]
        plan.append((kind, "single", singles, [_middle(w) for w in singles]))
    edits = [
        [edit(codes, kind, at, random) for codes, at in zip(clean, places, strict=True)]
        for kind, _, clean, places in plan
    ]
    # By whether sequences have a single edit: the first columns of each row, and its sums over sequences.
    names: dict[bool, list[tuple[Any, ...]]] = {False: [], True: []}
    counted: dict[bool, list[Values]] = {False: [], True: []}
    for number, (name, segmentation) in enumerate(segmentations.items()):
        before = {False: list(segmentation(windows)), True: list(segmentation(singles))}
        for index, ((kind, rate, _, places), edited) in enumerate(zip(plan, edits, strict=True)):
            single = rate == "single"
            after = list(segmentation([e.codes for e in edited]))
            compared = list(zip(before[single], after, edited, places, strict=True))
            for within in WITHIN if single else (None,):
                for stage in range(stages):
                    names[single].append((stage, name, kind, rate, within or np.nan, sum(map(len, places))))
                    sums = [_sums(*each, stage, within) for each in compared]
                    counted[single].append(np.array(sums, dtype=np.float64).reshape(-1, _SUMS))
            on_windows((number + (index + 1) / len(plan)) / len(segmentations))
    complete = [
        (*first, *rest)
        for single in (False, True)
        for first, rest in zip(names[single], _summaries(counted[single]), strict=True)
    ]
    return sorted(complete, key=lambda row: row[0])


def model_segmentation(model: HNetLM) -> Segmentation:
    """Return the segmentation by a model, which reads each sequence by itself."""

    def segment(sequences: Sequence[Codes]) -> Iterator[Segmented]:
        pieces = (Piece(str(i), 0, codes, uracils=0) for i, codes in enumerate(sequences))
        begins, bits = [], []
        for bases in annotate(pieces, model):
            here = np.zeros((len(bases.stages), len(bases.codes)), dtype=bool)
            for row, stage in zip(here, bases.stages, strict=True):
                row[stage.position[stage.mask] - bases.start] = True
            begins.append(here)
            bits.append(bases.bits)
            if bases.last:
                yield Segmented(np.concatenate(begins, axis=1), np.concatenate(bits))
                begins, bits = [], []

    return segment


def kmer_segmentation(lengths: Sequence[int]) -> Segmentation:
    """Return the segmentation into k-mers from the first base of a sequence on; one k for each stage."""

    def segment(sequences: Sequence[Codes]) -> Iterator[Segmented]:
        for codes in sequences:
            yield Segmented(np.stack([np.arange(len(codes)) % k == 0 for k in lengths]), None)

    return segment


def counts(bases: int) -> tuple[int, int]:
    """Return how many sequences get random edits, and how many get one, where about this many bases are to be read."""
    share = min(1.0, bases / FULL)
    return max(LEAST_WINDOWS, round(share * WINDOWS)), max(LEAST_SINGLES, round(share * SINGLES))


def sample(genome: Genome, stretches: Iterable[Interval], size: int, count: int, seed: int) -> list[Codes]:
    """Return `count` sequences of up to `size` bases, evenly spaced over stretches cut into tiles of that size.

    Tiles of fewer than `SHORTEST` bases are left out. The seed decides where the first one lies.
    """
    tiles = [tile for tile in tiled(stretches, size) if len(tile) >= SHORTEST]
    count = min(count, len(tiles))
    start = float(np.random.default_rng(seed).random())
    taken = ((np.arange(count) + start) * len(tiles) / max(count, 1)).astype(int)
    return [np.array(genome.codes(tiles[i])) for i in taken.tolist()]


def _random_places(codes: Codes, rate: float, random: np.random.Generator) -> Positions:
    """Pick bases A, C, G, T, but never the first one, at which a chunk begins by definition."""
    chosen = (random.random(len(codes)) < rate) & (is_acgt(codes))
    chosen[0] = False
    return np.flatnonzero(chosen)


def _middle(codes: Codes) -> Positions:
    """Pick the base A, C, G, T nearest to the middle, but never the first one; none if there is no other."""
    known = np.flatnonzero(is_acgt(codes))
    known = known[known > 0]
    return known[np.argsort(np.abs(known - len(codes) // 2), kind="stable")[:1]]


def _sums(
    before: Segmented, after: Segmented, edited: Edited, places: Positions, stage: int, within: int | None
) -> tuple[float, ...]:
    """Sum over one sequence: borders; boundaries before, after, both; unedited bases, their bits after and before."""
    borders = edited.untouched
    source = edited.source
    unedited = np.flatnonzero((source > 0) & ~edited.new & is_acgt(edited.codes))
    if within is not None:
        first, last = (places[0], places[0] + within) if len(places) else (0, -1)
        borders = borders[(source[borders] > first) & (source[borders] <= last)]
        unedited = unedited[(source[unedited] > first) & (source[unedited] <= last)]
    theirs, ours = before.begins[stage, source[borders]], after.begins[stage, borders]
    counts = (len(borders), int(theirs.sum()), int(ours.sum()), int((theirs & ours).sum()))
    if before.bits is None or after.bits is None:
        return (*counts, 0, 0.0, 0.0)
    return (*counts, len(unedited), float(after.bits[unedited].sum()), float(before.bits[source[unedited]].sum()))


def _summaries(counted: Sequence[Values]) -> Iterator[tuple[Any, ...]]:
    """Yield the last columns of rows, from sums (sequences, 7) whose sequences are resampled together."""
    draws = resampled(np.concatenate(counted, axis=1)) if len(counted[0]) > 1 else None
    for index, sums in enumerate(counted):
        total = sums.sum(axis=0)
        kept, chance, gained, *bits, added = _rates(total[None])[0].tolist()
        of_kept, of_added = [np.nan] * 2, [np.nan] * 2
        if draws is not None:
            low, high = percentiles(_rates(draws[:, index * _SUMS : (index + 1) * _SUMS]))
            of_kept, of_added = [float(low[0]), float(high[0])], [float(low[-1]), float(high[-1])]
        yield int(total[0]), int(total[1]), kept, *of_kept, chance, gained, *bits, added, *of_added


def _rates(totals: Values) -> Values:
    """Return (rows, 6): kept, kept by chance, gained, bits per base after and before, and the difference."""
    borders, before, after, both, bases, bits, clean = totals.T
    per_base = (ratio(bits, bases), ratio(clean, bases))
    rates = (ratio(both, before), ratio(after, borders), ratio(after - both, before), *per_base)
    return np.stack([*rates, per_base[0] - per_base[1]], axis=1)
