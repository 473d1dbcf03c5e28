"""Where the bits go: what a model spends on bases of each class and around sites, from the same reading as boundaries.

Bits lie on the axis, (size,), NaN where there is no base A, C, G or T.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hnet_dna.explanation.axis import Axis, Positions, spread
from hnet_dna.explanation.measures import Profiles, Values, intervals_of, ratio

ClassName = tuple[str, str]


def class_rows(axis: Axis, bits: Values, untrained: Values, classes: Mapping[ClassName, Positions]) -> list[Any]:
    """Return for all bases and for each class: group, name, bases, bits per base, and these beside all bases.

    Args:
        axis: that everything lies on.
        bits, untrained: of the model and of the untrained one.
        classes: disjoint sorted intervals (K, 2) by group and name.

    Returns:
        Rows of group, name, bases, bits per base with its 95 % interval, its difference to all bases with its interval,
        and both of the untrained model.
    """
    whole = np.stack([axis.offset, axis.offset + axis.length], axis=1)
    named = {("all", "all"): whole, **classes}
    sums, bases = by_block(axis, bits, list(named.values()))
    of_rate, of_difference = intervals_of(sums, bases, np.subtract)
    rate = ratio(sums.sum(axis=0), bases.sum(axis=0))
    theirs = ratio(*(table.sum(axis=0) for table in by_block(axis, untrained, list(named.values()))))
    columns = [bases.sum(axis=0).astype(np.int64), rate, *of_rate]
    columns += [rate - rate[0], *of_difference, theirs, theirs - theirs[0]]
    return [(*name, *cells) for name, *cells in zip(named, *(c.tolist() for c in columns), strict=True)]


def by_block(axis: Axis, bits: Values, classes: Sequence[Positions]) -> tuple[Values, Values]:
    """Return the bits and the bases that they are spent on by block and class, (blocks, classes) each."""
    sums, bases = np.zeros((2, axis.n_blocks, len(classes)))
    for column, intervals in enumerate(classes):
        places = spread(intervals)
        places = places[~np.isnan(bits[places])]
        block = axis.block[places]
        sums[:, column] = np.bincount(block, bits[places], axis.n_blocks)
        bases[:, column] = np.bincount(block, minlength=axis.n_blocks)
    return sums, bases


def profile_rows(axis: Axis, bits: Values, untrained: Values, profiles: Profiles) -> list[Any]:
    """Return for each site, strand and offset: bases, bits per base, and these beside all bases.

    Returns:
        Rows of site, strand, offset, bases, bits per base with its 95 % interval (sites being independent), its
        difference to all bases, and both of the untrained model.
    """
    bases, rate, error = _profile(bits, profiles)
    _, theirs, _ = _profile(untrained, profiles)
    columns = [bases, rate, rate - 1.96 * error, rate + 1.96 * error, rate - overall(axis, bits)]
    columns += [theirs, theirs - overall(axis, untrained)]
    return [(*name, *cells) for name, *cells in zip(profiles.rows, *(c.tolist() for c in columns), strict=True)]


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
