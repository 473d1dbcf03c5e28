"""What a model makes of alleles at places of the reference: their likelihood, and the chunks after them.

There are two ways to read what comes before an allele:

* A window of its own for each place. What comes before is run once for all alleles of the place. A variant with one
  alternative allele costs 2 x (256 + 2 x 256) bases on both strands with a window of 512.
* One reading for all places of a neighbourhood (`context`). The reference is read once and stops where variants begin.
  The state at a stop is a value from which alternative alleles go on, as rows of one batch: 2 x 256 bases for each. The
  same reading gives the likelihood of the reference's alleles. Where it begins depends on the place of a variant, not
  on which other variants there are.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hnet_dna.errors import UsageError
from hnet_dna.genome.genome import Genome, whole
from hnet_dna.inference.branches import Branches, Front, Reading, cost
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import Codes, from_text, reverse_complement, runs_of_n
from hnet_dna.sequence.interval import Interval
from hnet_dna.sequence.strand import Strand

_CELL = 1 << 13  # shared readings begin `context` bases before multiples of this
_SIDE_BY_SIDE = 32  # shared readings, of either strand; a large model has states of many megabytes for each

_SCATTERED, _GRID = 32, 128  # mean distance of scattered places, and of the marks at which trunks with such stop


@dataclass(frozen=True)
class How:
    """How alleles are read.

    Attributes:
        window: bases of reference around a variant: half of them after it, and half before it where `context` is None.
        strand: which strand's likelihood, or the mean of both.
        context: the least number of bases read before a variant, shared with its neighbours; None where each place has
            a window of its own. What is read begins at most 8,192 bases further away, or where the stretch does.
        boundaries: bases after a variant whose chunk boundaries are compared; 0 compares none.
        boundaries_only: whether likelihoods are not wanted, which saves most of the work.
    """

    window: int = 512
    strand: Strand = "both"
    context: int | None = None
    boundaries: int = 0
    boundaries_only: bool = False

    @property
    def before(self) -> int:
        """Bases before a variant that belong to its own window."""
        return max(1, self.window // 2)

    @property
    def after(self) -> int:
        """Bases after a variant that are read."""
        return self.boundaries if self.boundaries_only else self.before

    @property
    def strands(self) -> tuple[str, ...]:
        """The strands that are read."""
        return ("+", "-") if self.strand == "both" else (self.strand,)

    def check(self, model: HNetLM) -> None:
        """Raise `UsageError` where boundaries are asked for that the model or the window does not have."""
        if self.boundaries and not model.n_chunking_stages:
            raise UsageError("`boundaries`: this model has no chunks")
        if not 0 <= self.boundaries < self.before:
            raise UsageError(
                f"`boundaries`: expected fewer bases than half a window has ({self.before}), got {self.boundaries}"
            )


class Cut(NamedTuple):
    """Alleles at a place of the reference, letters A, C, G and T, that of the reference first."""

    contig: str
    start: int
    alleles: tuple[str, ...]

    @property
    def end(self) -> int:
        """Position after the reference's allele."""
        return self.start + len(self.alleles[0])


class Shift(NamedTuple):
    """What an allele does to the chunk boundaries after it on one strand.

    Attributes:
        lost, gained: boundaries that only the reference has, and that only the allele has.
        change: the largest change of boundary probability in either direction, allele minus reference.
        distance: where that is: 1 at the first base after the variant; 0 and below at bases of the variant itself,
            which are compared where reference and allele are equally long.
    """

    lost: int
    gained: int
    change: float
    distance: int


@dataclass(frozen=True)
class Effects:
    """What a model makes of a place with A alternative alleles, on S strands.

    Attributes:
        llr: (A,) log2 p(window with the allele) - log2 p(window without it), the mean of the strands; NaN where
            boundaries only were asked for.
        log2p: (S, 4) log2 p of A, C, G and T, in the forward strand's letters, at the base of the reference's allele
            that the strand reads first; (S, 0) where boundaries only were asked for.
        shifts: for each allele one for each strand; empty where none were asked for.
    """

    llr: NDArray[np.float64]
    log2p: NDArray[np.float64]
    shifts: tuple[tuple[Shift, ...], ...]

    @property
    def largest_changes(self) -> NDArray[np.float64]:
        """The largest absolute change of boundary probability by each allele on any strand, (A,)."""
        return np.array([max(abs(shift.change) for shift in strands) for strands in self.shifts])


def read_effects(genome: Genome, cuts: Sequence[Cut], branches: Branches, how: How) -> list[Effects]:
    """Return what a model makes of alleles, place by place; memory grows with all their bases."""
    read = _read_windows if how.context is None else _read_shared
    return read(genome, cuts, branches, how)


class _AlleleReading(NamedTuple):
    """What a reading says of an allele, and of what comes after it.

    Attributes:
        total: log2 p of all its bases.
        first: (4,) log2 p of the letters at its first base, (0,) where there is none.
        prob, mask: boundaries at the allele and as far after it as they are compared.
    """

    total: float
    first: NDArray[np.float64]
    prob: NDArray[np.float32]
    mask: NDArray[np.bool_]


class _OnStrand(NamedTuple):
    """What an allele does on one strand."""

    strand: str
    llr: float
    shift: Shift | None
    first: NDArray[np.float64]


def _read_allele(reading: Reading, start: int, allele: Codes, how: How) -> _AlleleReading:
    """Pick what matters out of a reading in which an allele begins at `start`."""
    compared = slice(start, start + len(allele) + how.boundaries) if how.boundaries else slice(0, 0)
    prob, mask = reading.prob[compared].copy(), reading.mask[compared].copy()
    if how.boundaries_only:
        return _AlleleReading(math.nan, np.zeros(0), prob, mask)
    summed = reading.part(start, start + len(allele) + how.after).of_bases()
    return _AlleleReading(float(summed.sum()), reading.log2p[start].copy(), prob, mask)


def _compare(
    reference: _AlleleReading, other: _AlleleReading, ref: Codes, alt: Codes, how: How, strand: str
) -> _OnStrand:
    shift = _shift(reference, other, ref, alt, how.boundaries) if how.boundaries else None
    # A is 0 and T is 3, so that complements stand in the opposite order.
    return _OnStrand(strand, other.total - reference.total, shift, reference.first[:: 1 if strand == "+" else -1])


def _shift(reference: _AlleleReading, other: _AlleleReading, ref: Codes, alt: Codes, after: int) -> Shift:
    shared = len(ref)  # letters at the end of both alleles that stand for each other
    if len(ref) != len(alt):
        shared = 0
        while shared < min(len(ref), len(alt)) and ref[-1 - shared] == alt[-1 - shared]:
            shared += 1
    ours, theirs = len(ref) - shared, len(alt) - shared
    count = min(shared + after, len(reference.prob) - ours, len(other.prob) - theirs)
    if count <= 0:  # nothing comes after it
        return Shift(0, 0, 0.0, 0)
    before, now = reference.mask[ours : ours + count], other.mask[theirs : theirs + count]
    change = other.prob[theirs : theirs + count] - reference.prob[ours : ours + count]
    at = int(np.abs(change).argmax())
    return Shift(int((before & ~now).sum()), int((now & ~before).sum()), float(change[at]), at - shared + 1)


def _effects(alleles: Sequence[Sequence[_OnStrand]]) -> Effects:
    """Put together what is known of each allele on each strand."""
    alleles = [sorted(strands, key=lambda one: one.strand) for strands in alleles]  # + comes before -
    llr = np.array([np.mean([one.llr for one in strands]) for strands in alleles], dtype=np.float64)
    shifts = tuple(tuple(one.shift for one in strands if one.shift is not None) for strands in alleles)
    return Effects(llr, np.stack([one.first for one in alleles[0]]), shifts if shifts[0] else ())


@dataclass(frozen=True)
class _Window:
    """Bases before and after alleles, and the alleles, in the direction of a strand."""

    strand: str
    before: Codes
    after: Codes
    alleles: tuple[Codes, ...]


def _read_windows(genome: Genome, cuts: Sequence[Cut], branches: Branches, how: How) -> list[Effects]:
    """Read a window of its own for each place; records about the same place share it."""
    places: dict[tuple[str, int, str], dict[str, list[_OnStrand]]] = {}
    for cut in cuts:
        places.setdefault((cut.contig, cut.start, cut.alleles[0]), {}).update((alt, []) for alt in cut.alleles[1:])
    merged = [Cut(contig, start, (ref, *alts)) for (contig, start, ref), alts in places.items()]
    windows = [_window(genome, cut, how, strand) for strand in how.strands for cut in merged]
    front = branches.start(len(windows))
    if any(len(window.before) for window in windows):
        front, _ = branches.advance(front, [window.before for window in windows])
    owners = [row for row, window in enumerate(windows) for _ in window.alleles]
    sequences = [np.concatenate([allele, window.after]) for window in windows for allele in window.alleles]
    alleles = [allele for window in windows for allele in window.alleles]
    readings_of = {
        row: _read_allele(reading, 0, alleles[row], how) for row, reading in branches.branch(front, owners, sequences)
    }
    in_order = (readings_of[row] for row in range(len(alleles)))
    for row, window in enumerate(windows):
        cut = merged[row % len(merged)]
        of_place = places[cut.contig, cut.start, cut.alleles[0]]
        readings = [next(in_order) for _ in window.alleles]
        for index, letters in enumerate(cut.alleles[1:], start=1):
            ref, alt = window.alleles[0], window.alleles[index]
            of_place[letters].append(_compare(readings[0], readings[index], ref, alt, how, window.strand))
    compared = [places[cut.contig, cut.start, cut.alleles[0]] for cut in cuts]
    return [_effects([one[alt] for alt in cut.alleles[1:]]) for one, cut in zip(compared, cuts, strict=True)]


def _window(genome: Genome, cut: Cut, how: How, strand: str) -> _Window:
    """Cut the window out of the stretch between runs of N that holds the variant."""
    length = genome[cut.contig].length
    left, right = (how.before, how.after) if strand == "+" else (how.after, how.before)
    before = genome.codes(Interval(cut.contig, max(0, cut.start - left), cut.start))
    after = genome.codes(Interval(cut.contig, cut.end, min(length, cut.end + right)))
    runs_before, runs_after = runs_of_n(before), runs_of_n(after)
    before = before[runs_before[-1, 1] :] if len(runs_before) else before
    after = after[: runs_after[0, 0]] if len(runs_after) else after
    alleles = tuple(map(from_text, cut.alleles))
    if strand == "+":
        return _Window(strand, before, after, alleles)
    turned = tuple(map(reverse_complement, alleles))
    return _Window(strand, reverse_complement(after), reverse_complement(before), turned)


class _Planted(NamedTuple):
    """A place on a trunk: its number among all, where its allele begins in the trunk, and its alleles."""

    number: int
    at: int
    alleles: tuple[Codes, ...]


@dataclass
class _Trunk:
    """Bases of one strand that several places lie on, read once.

    Attributes:
        strand: which.
        codes: (L,) in its direction.
        places: in order.
        stops: where reading stops, and the places whose alleles go on from there.
        parts: what has been read.
    """

    strand: str
    codes: Codes
    places: list[_Planted]
    stops: list[tuple[int, list[_Planted]]] = field(default_factory=list)
    parts: list[Reading] = field(default_factory=list)

    def stop_at_places(self, stride: int) -> None:
        """Stop where alleles begin, but nowhere within `stride` bases of the last stop."""
        for place in self.places:
            if not self.stops or place.at - self.stops[-1][0] >= stride:
                self.stops.append((place.at, []))
            self.stops[-1][1].append(place)

    def stop_at(self, marks: Sequence[int]) -> None:
        """Stop at rising marks; alleles go on from the last one before them."""
        found: dict[int, list[_Planted]] = {mark: [] for mark in marks if mark <= self.places[-1].at}
        known = list(found)
        for place in self.places:
            found[known[bisect_right(known, place.at) - 1]].append(place)
        self.stops = list(found.items())

    def pieces(self) -> list[Codes]:
        """Return what is read up to each stop, and after the last."""
        return [self.codes[start:end] for start, end in pairwise([0, *(at for at, _ in self.stops), len(self.codes)])]


class _Ending(NamedTuple):
    """An allele that is run from the row `owner` of a front; its own bases begin at `skip` of `codes`."""

    trunk: _Trunk
    place: _Planted
    allele: int
    owner: int
    skip: int
    codes: Codes


def _read_shared(genome: Genome, cuts: Sequence[Cut], branches: Branches, how: How) -> list[Effects]:
    """Read the reference once for all places of a neighbourhood."""
    of_alleles: list[list[list[_OnStrand]]] = [[[] for _ in cut.alleles[1:]] for cut in cuts]
    trunks = [trunk for strand in how.strands for trunk in _trunks(genome, cuts, how, strand)]
    trunks.sort(key=lambda trunk: len(trunk.places))  # side by side with others of about as many stops
    for first in range(0, len(trunks), _SIDE_BY_SIDE):
        _read_trunks(trunks[first : first + _SIDE_BY_SIDE], branches, how, of_alleles)
    return [_effects(alleles) for alleles in of_alleles]


def _trunks(genome: Genome, cuts: Sequence[Cut], how: How, strand: str) -> list[_Trunk]:
    """Gather the places whose reading begins at the same base."""
    assert how.context is not None
    stretches = {name: genome.segments(whole(genome[name])) for name in {cut.contig for cut in cuts}}
    gathered: dict[tuple[Interval, int], list[_Planted]] = {}
    for number, cut in enumerate(cuts):
        known = stretches[cut.contig]
        stretch = known[bisect_right(known, cut.start, key=lambda one: one.start) - 1]
        alleles = tuple(map(from_text, cut.alleles))
        if strand == "+":
            begin = max(stretch.start, cut.start // _CELL * _CELL - how.context)
            place = _Planted(number, cut.start - begin, alleles)
        else:
            begin = min(stretch.end, -(-cut.end // _CELL) * _CELL + how.context)
            place = _Planted(number, begin - cut.end, tuple(map(reverse_complement, alleles)))
        gathered.setdefault((stretch, begin), []).append(place)
    trunks = []
    for (stretch, begin), places in gathered.items():
        reach = max(place.at + len(place.alleles[0]) for place in places) + how.after
        if strand == "+":
            codes = genome.codes(Interval(stretch.contig, begin, min(stretch.end, begin + reach)))
        else:
            codes = reverse_complement(genome.codes(Interval(stretch.contig, max(stretch.start, begin - reach), begin)))
        trunks.append(_Trunk(strand, codes, sorted(places, key=lambda place: place.at)))
    return trunks


def _read_trunks(
    trunks: Sequence[_Trunk], branches: Branches, how: How, of_alleles: list[list[list[_OnStrand]]]
) -> None:
    """Read trunks side by side, and run alleles whenever a batch of them has come together."""
    _plan(trunks, branches.stride)
    pieces = [trunk.pieces() for trunk in trunks]
    rows = list(range(len(trunks)))  # trunks that are not read to their end, in the order of the front's rows
    front = branches.start(len(trunks))
    waiting: list[tuple[Front, list[_Ending]]] = []
    endings_read: list[tuple[_Ending, _AlleleReading]] = []
    for step in range(max(map(len, pieces))):
        going = [row for row, trunk in enumerate(rows) if step < len(pieces[trunk])]
        if len(going) < len(rows):
            front, rows = front.select(going), [rows[row] for row in going]
        codes = [pieces[trunk][step] for trunk in rows]
        if any(map(len, codes)):
            front, parts = branches.advance(front, codes)
            for trunk, part in zip(rows, parts, strict=True):
                trunks[trunk].parts.append(part)
        stopped = [(owner, trunks[trunk]) for owner, trunk in enumerate(rows) if step < len(trunks[trunk].stops)]
        endings = [ending for owner, trunk in stopped for ending in _endings(trunk, trunk.stops[step], owner, how)]
        if waiting and _bases(endings) + sum(_bases(those) for _, those in waiting) > branches.batch:
            endings_read += _run_endings(waiting, branches, how)
            waiting = []
        if endings:
            waiting.append((front, endings))
        if front.state is None:  # which cannot be joined with others
            endings_read += _run_endings(waiting, branches, how)
            waiting = []
    endings_read += _run_endings(waiting, branches, how)
    readings = {id(one): Reading.joined(one.parts) for one in trunks}
    own = {(id(one.trunk), one.place.number): what for one, what in endings_read if one.allele == 0}
    for one, what in endings_read:
        if one.allele:
            ref, alt = one.place.alleles[0], one.place.alleles[one.allele]
            key = id(one.trunk), one.place.number
            if key not in own:
                own[key] = _read_allele(readings[id(one.trunk)], one.place.at, ref, how)
            compared = _compare(own[key], what, ref, alt, how, one.trunk.strand)
            of_alleles[one.place.number][one.allele - 1].append(compared)


def _plan(trunks: Sequence[_Trunk], stride: int) -> None:
    """Choose where reading stops.

    Where places are dense, that is at each of them. Where they are scattered, trunks that stopped each at its own would
    wait for each other: they stop together, and alleles read a few bases of the reference more.
    """
    if sum(len(trunk.codes) for trunk in trunks) < _SCATTERED * sum(len(trunk.places) for trunk in trunks):
        for trunk in trunks:
            trunk.stop_at_places(stride)
        return
    marks = sorted({place.at // _GRID * _GRID for trunk in trunks for place in trunk.places})
    for trunk in trunks:
        trunk.stop_at(marks)


def _endings(trunk: _Trunk, stop: tuple[int, list[_Planted]], owner: int, how: How) -> Iterable[_Ending]:
    """Yield alternative alleles, and the reference's own where the genome has an ambiguity code in its place."""
    start, places = stop
    for place in places:
        end = place.at + len(place.alleles[0])
        letters = trunk.codes[place.at : end] & np.uint8(0x0F)
        for index, allele in enumerate(place.alleles):
            if index or not np.array_equal(letters, allele):
                codes = np.concatenate([trunk.codes[start : place.at], allele, trunk.codes[end : end + how.after]])
                yield _Ending(trunk, place, index, owner, place.at - start, codes)


def _bases(endings: Sequence[_Ending]) -> int:
    return sum(cost(len(one.codes)) for one in endings)


def _run_endings(
    waiting: Sequence[tuple[Front, list[_Ending]]], branches: Branches, how: How
) -> list[tuple[_Ending, _AlleleReading]]:
    if not waiting:
        return []
    endings = [one for _, those in waiting for one in those]
    first, owners = 0, []
    for front, those in waiting:
        owners += [first + one.owner for one in those]
        first += len(front.ahead)
    joined = Front.joined([front for front, _ in waiting])
    readings = branches.branch(joined, owners, [one.codes for one in endings])
    return [
        (endings[row], _read_allele(reading, endings[row].skip, endings[row].place.alleles[endings[row].allele], how))
        for row, reading in readings
    ]
