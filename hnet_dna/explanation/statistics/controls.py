"""Controls: boundaries shifted along their stretch, and sequence shuffled with the same dinucleotides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from hnet_dna.explanation.statistics.axis import Axis, Positions
from hnet_dna.explanation.statistics.measures import Values, ratio
from hnet_dna.sequence.codes import LETTER_BITS, Codes, is_acgt, runs


@dataclass(frozen=True)
class Shifted:
    """A statistic under circular shifts.

    Attributes:
        mean: (rows,) expected value.
        low, high: (rows,) 2.5th and 97.5th percentiles of the shifts.
        p: (rows,) (1 + k) / (1 + n), where k of n shifts lie at least as far from the mean as the observed value.
        p_of_all: (rows,) the same, but each row is compared with the farthest row of each shift, in standard deviations
            of each row over shifts (Westfall and Young's max-T). It suits rows that are picked for their values.
    """

    mean: Values
    low: Values
    high: Values
    p: Values
    p_of_all: Values


class Rotation:
    """Shifts boundaries circularly, each stretch by its own amount; distances between boundaries stay."""

    def __init__(self, axis: Axis, positions: Positions) -> None:
        self._axis = axis
        self._stretch = np.searchsorted(axis.offset, positions, side="right") - 1
        self._inside = positions - axis.offset[self._stretch]

    def by(self, amounts: Positions) -> Positions:
        """Return the boundaries, sorted, each moved right by the amount (S,) of its stretch."""
        length = self._axis.length[self._stretch]
        moved = self._axis.offset[self._stretch] + (self._inside + amounts[self._stretch]) % length
        return np.sort(moved, kind="stable")


def shifted(
    axis: Axis,
    positions: Positions,
    statistics: Sequence[Callable[[Positions], Values]],
    shifts: int,
    seed: int,
    on_shift: Callable[[int], None] = lambda done: None,
) -> list[Shifted]:
    """Apply statistics, (rows,) of sorted positions, to boundaries shifted at random; all see the same shifts."""
    random = np.random.default_rng(seed)
    rotation = Rotation(axis, positions)
    samples: list[list[Values]] = [[] for _ in statistics]
    for shift in range(shifts):
        moved = rotation.by(random.integers(0, axis.length))
        for sample, statistic in zip(samples, statistics, strict=True):
            sample.append(statistic(moved))
        on_shift(shift + 1)
    return [summary(s(positions), np.stack(sample)) for s, sample in zip(statistics, samples, strict=True)]


def summary(observed: Values, samples: Values) -> Shifted:
    """Compare observed values (rows,) with those of shifts (shifts, rows)."""
    mean = samples.mean(axis=0)
    low, high = np.percentile(samples, [2.5, 97.5], axis=0)
    # Distances that differ only by rounding count as equal.
    distance, theirs = np.abs(observed - mean), np.abs(samples - mean)
    p = (1 + (theirs >= distance - 1e-12).sum(axis=0)) / (1 + len(samples))
    deviation = samples.std(axis=0)
    farthest = ratio(theirs, deviation).max(axis=1, initial=0.0, where=deviation > 0)
    of_all = (1 + (farthest[:, None] >= ratio(distance, deviation) - 1e-12).sum(axis=0)) / (1 + len(samples))
    p[np.isnan(observed) | np.isnan(mean)] = np.nan
    of_all[np.isnan(p) | ~(deviation > 0)] = np.nan
    return Shifted(mean, low, high, p, of_all)


def shuffle_dinucleotides(codes: Codes, random: np.random.Generator) -> Codes:
    """Return a random sequence with exactly the dinucleotides of this one, each such sequence equally likely.

    Altschul and Erikson (1985): a random Eulerian path through the letters, which keeps the first and the last letter.
    Each run of A, C, G, T is shuffled by itself; other letters stay where they are, and so do their pairs with
    neighbours. Soft-masking is dropped.
    """
    shuffled: Codes = np.array(codes & LETTER_BITS)
    for start, end in runs(is_acgt(shuffled)).tolist():
        if end - start > 3:
            shuffled[start:end] = _euler(shuffled[start:end], random)
    return shuffled


def _euler(letters: Codes, random: np.random.Generator) -> Codes:
    first, last = int(letters[0]), int(letters[-1])
    edges = [letters[1:][letters[:-1] == letter] for letter in range(4)]
    exits = _last_exits(np.stack([np.bincount(e, minlength=4) for e in edges]), last, random)
    queues = []
    for letter, after in enumerate(edges):
        order = random.permutation(after)
        if letter in exits:  # this exit is taken last, so that no edge is left behind
            at = int(np.flatnonzero(order == exits[letter])[0])
            order[at], order[-1] = order[-1], order[at]
        queues.append(iter(order.tolist()))
    path = [first]
    for _ in range(len(letters) - 1):
        path.append(next(queues[path[-1]]))
    return np.array(path, dtype=np.uint8)


def _last_exits(counts: NDArray[np.int64], root: int, random: np.random.Generator) -> dict[int, int]:
    """Choose the last exit of each letter but the root: a spanning tree towards it, in proportion to its edges.

    With four letters there are at most 64 choices, so that all are weighed instead of drawn until one is a tree.
    """
    letters = [letter for letter in range(4) if letter != root and counts[letter].any()]
    trees, weights = [], []
    for choice in product(range(4), repeat=len(letters)):
        exits = dict(zip(letters, choice, strict=True))
        weight = float(np.prod([float(counts[a, b]) for a, b in exits.items()]))
        if weight and all(_reaches(exits, letter, root) for letter in letters):
            trees.append(exits)
            weights.append(weight)
    chosen = random.choice(len(trees), p=np.array(weights) / sum(weights))
    return trees[int(chosen)]


def _reaches(exits: dict[int, int], letter: int, root: int) -> bool:
    for _ in range(4):
        if letter == root:
            return True
        letter = exits.get(letter, letter)
    return letter == root
