"""Measures of boundaries: each turns sorted positions on an axis into one number per row of a table.

A number is hits over trials. The same measure is applied to the boundaries of the model and to those of each control,
so that only the boundaries differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hnet_dna.annotation.genes import Coding, Site
from hnet_dna.evaluation.breakdown import resampled
from hnet_dna.explanation.statistics.axis import Axis, Positions, inside, spread
from hnet_dna.sequence.codes import runs

FLANK = 50
STRANDS = ("+", "-")
Counts: TypeAlias = NDArray[np.int64]
Values: TypeAlias = NDArray[np.float64]
RowName: TypeAlias = tuple[str | int, ...]


class Measure(Protocol):
    """Rows of a table, and their numbers for given boundaries."""

    rows: list[RowName]

    def hits(self, positions: Positions) -> Counts:
        """Return (rows,) how often boundaries at sorted positions meet the condition of each row."""
        ...

    def trials(self, positions: Positions) -> Counts:
        """Return (rows,) how often they could have met it."""
        ...


def value(measure: Measure, positions: Positions) -> Values:
    """Return (rows,) hits over trials; NaN where there are no trials."""
    return ratio(measure.hits(positions), measure.trials(positions))


def rows_of(names: Iterable[RowName], columns: Iterable[NDArray[Any]]) -> list[tuple[Any, ...]]:
    """Return rows that begin with their names, from columns (rows,)."""
    return [(*name, *cells) for name, *cells in zip(names, *(c.tolist() for c in columns), strict=True)]


def ratio(hits: NDArray[np.number], trials: NDArray[np.number]) -> Values:
    """Divide; NaN where there are no trials."""
    quotient = np.full(np.broadcast_shapes(hits.shape, trials.shape), np.nan)
    np.divide(hits, trials, out=quotient, where=trials > 0)
    return quotient


class ClassRates:
    """Boundaries per base of each class; the first row is all bases."""

    def __init__(self, axis: Axis, classes: Mapping[tuple[str, str], Positions]) -> None:
        """Take classes by group and name, each as disjoint sorted intervals (K, 2) on the axis."""
        self._axis = axis
        self._intervals = [axis.whole, *classes.values()]
        self.rows: list[RowName] = [("all", "all"), *classes]
        self._bases = np.array([(i[:, 1] - i[:, 0]).sum() for i in self._intervals], dtype=np.int64)

    def hits(self, positions: Positions) -> Counts:
        """Return boundaries in each class."""
        return np.array(
            [
                (np.searchsorted(positions, i[:, 1]) - np.searchsorted(positions, i[:, 0])).sum()
                for i in self._intervals
            ],
            dtype=np.int64,
        )

    def trials(self, positions: Positions) -> Counts:
        """Return bases of each class."""
        return self._bases

    def by_block(self, positions: Positions) -> tuple[Values, Values]:
        """Return hits and trials by block, (blocks, rows) each."""
        hits = [self._count(inside(positions, i)) for i in self._intervals]
        trials = [self._count(spread(i)) for i in self._intervals]
        return np.stack(hits, axis=1), np.stack(trials, axis=1)

    def _count(self, places: Positions) -> Values:
        return np.bincount(self._axis.block[places], minlength=self._axis.n_blocks).astype(np.float64)


class CodonRates:
    """Boundaries per base at each codon position of coding sequences, by their strand.

    Position 1 is the first base of a codon in the gene's direction. Bases that have several codon positions, or coding
    sequences on both strands, are left out.
    """

    def __init__(self, axis: Axis, codings: Iterable[Coding]) -> None:
        self._axis = axis
        self._label = codon_labels(axis, codings)
        self.rows: list[RowName] = [(strand, position) for strand in STRANDS for position in (1, 2, 3)]
        self._bases = np.bincount(self._label, minlength=7)[1:]

    def hits(self, positions: Positions) -> Counts:
        """Return boundaries at each codon position."""
        return np.bincount(self._label[positions], minlength=7)[1:]

    def trials(self, positions: Positions) -> Counts:
        """Return bases at each codon position."""
        return self._bases

    def by_block(self, positions: Positions) -> tuple[Values, Values]:
        """Return hits and trials by block, (blocks, rows) each."""
        return self._count(positions), self._count(np.flatnonzero(self._label))

    def _count(self, places: Positions) -> Values:
        cell = self._axis.block[places] * 7 + self._label[places].astype(np.int64)
        table = np.bincount(cell, minlength=7 * self._axis.n_blocks).reshape(-1, 7)
        return table[:, 1:].astype(np.float64)


def codon_labels(axis: Axis, codings: Iterable[Coding]) -> NDArray[np.uint8]:
    """Return (size,) 1 to 3 for the codon position on the forward strand, 4 to 6 on the reverse strand, 0 elsewhere."""
    claims = np.zeros(axis.size, dtype=np.uint8)  # one bit for each label
    for coding in codings:
        before = 0
        for part in coding.parts:
            bases = np.arange(part.start, part.end)
            order = bases - part.start if coding.strand == "+" else part.end - 1 - bases
            place = axis.place(part.contig, bases)
            label = (before + order) % 3 + (0 if coding.strand == "+" else 3)
            claims[place[place >= 0]] |= (1 << label[place >= 0]).astype(np.uint8)
            before += len(part)
    labels = np.zeros(256, dtype=np.uint8)
    for bit in range(6):
        labels[1 << bit] = bit + 1
    return labels[claims]


def codon_intervals(axis: Axis, codings: Iterable[Coding]) -> dict[tuple[str, str], Positions]:
    """Return the bases at each codon position as intervals (K, 2), named by strand and position."""
    labels = codon_labels(axis, codings)
    names = [f"{strand}{position}" for strand in STRANDS for position in (1, 2, 3)]
    return {("codon position", name): runs(labels == label) for label, name in enumerate(names, 1)}


class Profiles:
    """Boundaries per base at each offset from -FLANK to FLANK around sites, in the gene's direction, by strand.

    Offset 0 is the base at which the site begins. Bases off the axis do not count.
    """

    def __init__(self, axis: Axis, sites: Mapping[str, Sequence[Site]]) -> None:
        self._axis = axis
        offsets = np.arange(-FLANK, FLANK + 1)
        self.rows: list[RowName] = []
        self._index: list[Positions] = []
        for name, places in sites.items():
            for strand, sign in (("+", 1), ("-", -1)):
                at = place_sites(axis, [site for site in places if site.strand == strand])
                self._index.append(at[:, None] + sign * offsets)
            for strand in (*STRANDS, "both"):
                self.rows += [(name, strand, int(offset)) for offset in offsets]
        self._bases = self.sums(axis.usable)

    def hits(self, positions: Positions) -> Counts:
        """Return boundaries at each offset."""
        begins = np.zeros(self._axis.size, dtype=bool)
        begins[positions] = True
        return self.sums(begins)

    def trials(self, positions: Positions) -> Counts:
        """Return bases at each offset."""
        return self._bases

    def sums(self, content: NDArray[Any]) -> NDArray[Any]:
        """Return (rows,) the sums of an array (size,) over sites at each offset; True counts as 1."""
        sums = [np.zeros(0, dtype=np.int64)]
        for plus, minus in zip(self._index[::2], self._index[1::2], strict=True):
            forward, reverse = content[plus].sum(axis=0), content[minus].sum(axis=0)
            sums += [forward, reverse, forward + reverse]
        return np.concatenate(sums)


def place_sites(axis: Axis, sites: Sequence[Site]) -> Positions:
    """Return the sites' places on the axis, without those off it."""
    by_contig: dict[str, list[int]] = {}
    for site in sites:
        by_contig.setdefault(site.contig, []).append(site.position)
    return _placed(axis, by_contig)


def place_cuts(axis: Axis, cuts: Iterable[tuple[str, int]]) -> Positions:
    """Return the distinct places on the axis of borders (contig, position after the border), sorted."""
    by_contig: dict[str, list[int]] = {}
    for contig, position in cuts:
        by_contig.setdefault(contig, []).append(position)
    return np.unique(_placed(axis, by_contig))


def _placed(axis: Axis, by_contig: Mapping[str, list[int]]) -> Positions:
    listed = [np.zeros(0, dtype=np.int64)]
    listed += [axis.place(contig, np.array(positions, dtype=np.int64)) for contig, positions in by_contig.items()]
    places = np.concatenate(listed)
    return places[places >= 0]


class Precision:
    """Share of boundaries with an edge within d bases."""

    def __init__(self, axis: Axis, edges: Mapping[str, Positions], distances: Sequence[int]) -> None:
        """Take sorted places of edges by kind."""
        self.rows: list[RowName] = [(name, "precision", d) for name in edges for d in distances]
        self._near = [near(axis, places, d) for places in edges.values() for d in distances]

    def hits(self, positions: Positions) -> Counts:
        """Return boundaries near an edge."""
        return np.array([mask[positions].sum() for mask in self._near], dtype=np.int64)

    def trials(self, positions: Positions) -> Counts:
        """Return boundaries."""
        return np.full(len(self.rows), len(positions))


class Recall:
    """Share of edges with a boundary within d bases."""

    def __init__(self, edges: Mapping[str, Positions], distances: Sequence[int]) -> None:
        """Take sorted places of edges by kind."""
        self.rows: list[RowName] = [(name, "recall", d) for name in edges for d in distances]
        self._edges = [(places, d) for places in edges.values() for d in distances]

    def hits(self, positions: Positions) -> Counts:
        """Return edges near a boundary."""
        counts = []
        for places, d in self._edges:
            first = np.searchsorted(positions, places - d)
            counts.append(int((np.searchsorted(positions, places + d, side="right") > first).sum()))
        return np.array(counts, dtype=np.int64)

    def trials(self, positions: Positions) -> Counts:
        """Return edges."""
        return np.array([len(places) for places, _ in self._edges], dtype=np.int64)


class Agreement(Precision):
    """Share of boundaries with a boundary of the other strand's reading within d bases."""

    def __init__(self, axis: Axis, others: Positions, distances: Sequence[int]) -> None:
        """Take the sorted boundaries of the other strand, as positions of the base after each border."""
        super().__init__(axis, {"": others}, distances)
        self.rows = [(d,) for d in distances]


def near(axis: Axis, places: Positions, distance: int) -> NDArray[np.bool_]:
    """Return (size,) whether a position is within a distance, shorter than a gap, of any of these places."""
    steps = np.zeros(axis.size + 1, dtype=np.int32)
    np.add.at(steps, places - distance, 1)
    np.add.at(steps, places + distance + 1, -1)
    return np.cumsum(steps[:-1]) > 0


def intervals_of(
    hits: Values, trials: Values, beside: Callable[[Values, Values], Values] = ratio
) -> tuple[Values, Values]:
    """Return 95 % block-bootstrap intervals of rates, and of rates relative to that of the first row.

    Args:
        hits, trials: (blocks, rows).
        beside: combines rates with the rate of the first row; by default it divides.

    Returns:
        Two arrays (2, rows): low and high; NaN for rows that lie in fewer than two blocks.
    """
    rows = hits.shape[1]
    if len(hits) < 2 or not rows:
        return np.full((2, rows), np.nan), np.full((2, rows), np.nan)
    totals = resampled(np.concatenate([hits, trials], axis=1))
    rates = ratio(totals[:, :rows], totals[:, rows:])
    few = (trials > 0).sum(axis=0) < 2
    rates[:, few] = np.nan
    return percentiles(rates), percentiles(beside(rates, rates[:, :1]))


def percentiles(samples: Values) -> Values:
    """Return (2, columns): the 2.5th and 97.5th percentiles, without NaN samples, in which no trial was drawn."""
    ends = np.full((2, samples.shape[1]), np.nan)
    for column in range(samples.shape[1]):
        known = samples[:, column][~np.isnan(samples[:, column])]
        if len(known):
            ends[:, column] = np.percentile(known, [2.5, 97.5])
    return ends
