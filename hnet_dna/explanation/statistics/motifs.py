"""The sequence at boundaries: words, a logo, and repeats that follow from the bases. Codes are those of an axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hnet_dna.explanation.statistics.axis import Axis, Positions
from hnet_dna.explanation.statistics.measures import Values, ratio
from hnet_dna.sequence.codes import LETTER_BITS, SOFT_MASK, Codes, is_acgt, runs
from hnet_dna.sequence.kmers import kmer_numbers

K = 6
LOGO_FLANK = 10
MIN_HOMOPOLYMER = 6
MIN_MICROSATELLITE = 12
LONGEST_UNIT = 50
MIN_COPIED = 12  # bases of a tandem repeat beyond its first copy; chance gives one in 4^12 positions and unit
COUNT_FLOOR = 20  # occurrences below which a word is not ranked
LISTED = 50


@dataclass(frozen=True)
class Word:
    """A word and the boundaries in its middle.

    Attributes:
        rank: 1, 2, ... from the highest log-odds down; -1, -2, ... from the lowest up.
        row: of `Words.log_odds`.
        text: K letters, a boundary lying before the one at K / 2.
        boundaries: occurrences with a boundary in the middle.
        count: all occurrences.
        log_odds: log2 of the odds of a boundary in this word over those in all words, 0.5 added to each count.
    """

    rank: int
    row: int
    text: str
    boundaries: int
    count: int
    log_odds: float


class Words:
    """The words of an axis, and what boundaries give for those that occur `COUNT_FLOOR` times or more.

    Words with a letter other than A, C, G, T do not count. A word may contain the first base of a stretch.
    """

    def __init__(self, axis: Axis, codes: Codes) -> None:
        places = np.flatnonzero(axis.usable)
        words = kmer_numbers(codes, K)[places - K // 2]
        self._word = np.full(axis.size, -1, dtype=np.int16)
        self._word[places] = words
        count = np.bincount(words[words >= 0], minlength=4**K)
        self._frequent = np.flatnonzero(count >= COUNT_FLOOR)
        self._count, self._total = count[self._frequent], int(count.sum())

    def log_odds(self, positions: Positions) -> Values:
        """Return (words,) log2 of the odds of a boundary in each word over those in all words."""
        at, total_at = self._boundaries(positions)
        odds = (at + 0.5) / (self._count - at + 0.5)
        log_odds: Values = np.log2(odds / ((total_at + 0.5) / (self._total - total_at + 0.5)))
        return log_odds

    def listed(self, positions: Positions) -> list[Word]:
        """Return the words with the highest and lowest log-odds, at most `LISTED` of each, none twice."""
        log_odds, (at, _) = self.log_odds(positions), self._boundaries(positions)
        ranked = np.argsort(-log_odds, kind="stable")
        half = min(LISTED, (len(ranked) + 1) // 2)
        top, bottom = ranked[:half], ranked[half:][::-1][:LISTED]
        listed = [(rank, row) for rank, row in enumerate(top.tolist(), 1)]
        listed += [(-rank, row) for rank, row in enumerate(bottom.tolist(), 1)]
        return [
            Word(rank, row, _text(int(self._frequent[row])), int(at[row]), int(self._count[row]), float(log_odds[row]))
            for rank, row in listed
        ]

    def _boundaries(self, positions: Positions) -> tuple[Positions, int]:
        """Return (words,) boundaries in each word, and those in any word at all."""
        words = self._word[positions]
        at = np.bincount(words[words >= 0], minlength=4**K)
        return at[self._frequent], int(at.sum())


@dataclass(frozen=True)
class Logo:
    """Letters around boundaries.

    Attributes:
        offset: (W,) from -LOGO_FLANK to LOGO_FLANK; 0 is the base at which a chunk begins.
        count: (W, 4) of A, C, G, T.
        bits: (W,) relative entropy of the letters against those of all bases.
        background: (4,) share of each letter among all bases.
    """

    offset: NDArray[np.int64]
    count: NDArray[np.int64]
    bits: NDArray[np.float64]
    background: NDArray[np.float64]


def logo(axis: Axis, codes: Codes, positions: Positions) -> Logo:
    """Count letters around boundaries on the forward strand."""
    letters = codes & LETTER_BITS
    offset = np.arange(-LOGO_FLANK, LOGO_FLANK + 1)
    count = np.stack([np.bincount(letters[positions + o], minlength=16)[:4] for o in offset.tolist()])
    of_all = np.bincount(letters[axis.usable], minlength=16)[:4]
    background = ratio(of_all, of_all.sum(keepdims=True))
    share = ratio(count, count.sum(axis=1, keepdims=True))
    terms = np.zeros_like(share)
    seen = share > 0
    terms[seen] = share[seen] * np.log2((share / np.where(background > 0, background, 1.0))[seen])
    bits = np.where(np.isnan(share).any(axis=1), np.nan, terms.sum(axis=1))
    return Logo(offset, count, bits, background)


def soft_masked(axis: Axis, codes: Codes) -> Positions:
    """Return soft-masked bases as intervals (K, 2)."""
    return runs(((codes & SOFT_MASK) > 0) & axis.usable)


def homopolymers(axis: Axis, codes: Codes) -> Positions:
    """Return runs of one letter of `MIN_HOMOPOLYMER` bases or more, as intervals (K, 2)."""
    return _repeats(axis, codes, 1, MIN_HOMOPOLYMER)


def microsatellites(axis: Axis, codes: Codes) -> Positions:
    """Return repeats of units of 2 and 3 bases, of `MIN_MICROSATELLITE` bases or more, but not homopolymers."""
    return runs(_covered(axis, *(_repeats(axis, codes, unit, MIN_MICROSATELLITE) for unit in (2, 3))))


def tandem_repeats(axis: Axis, codes: Codes) -> Positions:
    """Return repeats of units of 4 to `LONGEST_UNIT` bases, two copies or more, as intervals (K, 2).

    Copies are exact. A repeat that homopolymers and microsatellites cover from end to end does not count.
    """
    simple = _covered(axis, homopolymers(axis, codes), microsatellites(axis, codes))
    not_simple = np.concatenate(([0], np.cumsum(~simple)))
    listed = [
        repeats[not_simple[repeats[:, 1]] > not_simple[repeats[:, 0]]]
        for unit in range(4, LONGEST_UNIT + 1)
        for repeats in [_repeats(axis, codes, unit, unit + max(unit, MIN_COPIED))]
    ]
    return runs(_covered(axis, *listed))


def _repeats(axis: Axis, codes: Codes, unit: int, shortest: int) -> Positions:
    """Return maximal runs of A, C, G, T in which each base equals the one a unit before."""
    letters = codes & LETTER_BITS
    repeats = runs((letters[unit:] == letters[:-unit]) & is_acgt(codes[unit:]))
    repeats[:, 1] += unit
    repeats = repeats[repeats[:, 1] - repeats[:, 0] >= shortest]
    if unit > 1:  # a run of one letter repeats by any unit
        changes = np.concatenate(([0], np.cumsum(letters[1:] != letters[:-1])))
        repeats = repeats[changes[repeats[:, 1] - 1] > changes[repeats[:, 0]]]
    return runs(_covered(axis, repeats) & axis.usable)


def _covered(axis: Axis, *intervals: Positions) -> NDArray[np.bool_]:
    """Return (size,) whether a position lies in any of these intervals (K, 2), which may overlap."""
    steps = np.zeros(axis.size + 1, dtype=np.int32)
    for listed in intervals:
        np.add.at(steps, listed[:, 0], 1)
        np.add.at(steps, listed[:, 1], -1)
    covered: NDArray[np.bool_] = np.cumsum(steps[:-1]) > 0
    return covered


def _text(word: int) -> str:
    return "".join("ACGT"[(word >> 2 * (K - 1 - i)) & 3] for i in range(K))
