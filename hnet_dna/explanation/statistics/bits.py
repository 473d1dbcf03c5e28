"""Bits per base of each class of bases and around sites, from the same reading as the boundaries.

Bits are arrays (size,) on the axis, NaN where there is no base A, C, G or T.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hnet_dna.explanation.statistics.axis import Axis, Positions, spread
from hnet_dna.explanation.statistics.measures import Profiles, Values, intervals_of, ratio, rows_of

ClassName = tuple[str, str]


def class_rows(axis: Axis, bits: Values, untrained: Values, classes: Mapping[ClassName, Positions]) -> list[Any]:
    """Return a row for all bases and for each class, with cells in the order of the columns of `bits`.

    Args:
        axis: on which bits and classes lie.
        bits, untrained: of the model and of the untrained one.
        classes: disjoint sorted intervals (K, 2) by group and name.
    """
    named = {("all", "all"): axis.whole, **classes}
    sums, bases = by_block(axis, bits, list(named.values()))
    of_rate, of_difference = intervals_of(sums, bases, np.subtract)
    rate = ratio(sums.sum(axis=0), bases.sum(axis=0))
    theirs = ratio(*(table.sum(axis=0) for table in by_block(axis, untrained, list(named.values()))))
    columns = [bases.sum(axis=0).astype(np.int64), rate, *of_rate]
    columns += [rate - rate[0], *of_difference, theirs, theirs - theirs[0]]
    return rows_of(named, columns)


def by_block(axis: Axis, bits: Values, classes: Sequence[Positions]) -> tuple[Values, Values]:
    """Return the sum of bits and the number of bases by block and class, (blocks, classes) each."""
    sums, bases = np.zeros((2, axis.n_blocks, len(classes)))
    for column, intervals in enumerate(classes):
        places = spread(intervals)
        places = places[~np.isnan(bits[places])]
        block = axis.block[places]
        sums[:, column] = np.bincount(block, bits[places], axis.n_blocks)
        bases[:, column] = np.bincount(block, minlength=axis.n_blocks)
    return sums, bases


def profile_rows(axis: Axis, bits: Values, untrained: Values, profiles: Profiles) -> list[Any]:
    """Return a row for each site, strand and offset, with cells in the order of the columns of `bits_profiles`.

    The 95 % intervals take sites as independent.
    """
    bases, rate, error = _profile(bits, profiles)
    _, theirs, _ = _profile(untrained, profiles)
    columns = [bases, rate, rate - 1.96 * error, rate + 1.96 * error, rate - overall(axis, bits)]
    columns += [theirs, theirs - overall(axis, untrained)]
    return rows_of(profiles.rows, columns)


def overall(axis: Axis, bits: Values) -> float:
    """Return bits per base of all bases; NaN where there are none."""
    known = bits[axis.usable & ~np.isnan(bits)]
    return float(known.mean()) if len(known) else float("nan")


def _profile(bits: Values, profiles: Profiles) -> tuple[Positions, Values, Values]:
    """Return (rows,) bases, bits per base, and the standard error over sites, NaN for fewer than two."""
    known = ~np.isnan(bits)
    filled = np.where(known, bits, 0.0)
    bases = profiles.sums(known)
    rate = ratio(profiles.sums(filled), bases)
    squares = profiles.sums(filled**2) - bases * rate**2
    return bases, rate, np.sqrt(np.maximum(ratio(squares, (bases - 1) * bases), 0.0))
