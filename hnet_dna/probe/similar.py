"""Which sequences are alike: copies, and families that share half of their k-mers, on either strand.

Two sequences are linked where they have in common at least half of the k-mers of the shorter one, each k-mer counted as
often as both have it; groups are what links connect, however many sequences that are. Repeats count with their number,
so that a microsatellite is like another microsatellite and not like every sequence with a few of its units, and k-mers
with a letter other than A, C, G, T do not count at all.

Every link is found, and yet hardly any pair is compared. Rows of a sparse matrix are sequences, its columns k-mers. A
pair that shares half of its k-mers shares some of its rarest three quarters, and k-mers that all belong to one group by
now have nothing left to tell: products of these few entries name the candidates, of which the whole rows are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from hnet_dna.sequence.codes import LETTER_BITS, from_text, reverse_complement

K = 12
_OCCURRENCE = 4**K  # the second occurrence of a k-mer in a sequence is another column than the first, and so on
_PRODUCTS = 5_000_000  # of entries at a time, which bounds memory
_PAIRS = 20_000  # compared at a time

Integers = NDArray[np.int64]


def copies_of(sequences: Sequence[str]) -> Integers:
    """Return a number from 0 for each sequence, the same for copies, also of the other strand and in another case."""
    first: dict[bytes, int] = {}
    found = np.empty(len(sequences), dtype=np.int64)
    for index, text in enumerate(sequences):
        codes = from_text(text.strip()) & np.uint8(LETTER_BITS)
        found[index] = first.setdefault(min(codes.tobytes(), reverse_complement(codes).tobytes()), len(first))
    return found


def similar_groups(sequences: Sequence[str]) -> Integers:
    """Return a number from 0 for each sequence, the same for all that links connect."""
    copy = copies_of(sequences)
    _, first = np.unique(copy, return_index=True)
    return _relabelled(_linked(_Words.of([sequences[index] for index in first.tolist()]))[copy])


@dataclass(frozen=True)
class _Words:
    """The k-mers of N different sequences.

    Attributes:
        row, column: entries of the matrix, by row, then column; rare columns come first, those of one row are left out.
        size: (N,) k-mers of each row, with those left out.
    """

    row: NDArray[np.int32]
    column: NDArray[np.int32]
    size: Integers

    @classmethod
    def of(cls, sequences: Sequence[str]) -> _Words:
        words = [_words(text) for text in sequences]
        size = np.array([len(own) for own in words], dtype=np.int64)
        _, column, count = np.unique(np.concatenate([*words, _words("")]), return_inverse=True, return_counts=True)
        rank = np.empty_like(count)
        rank[np.argsort(count, kind="stable")] = np.arange(len(count))
        shared = count[column] > 1
        place = np.repeat(np.arange(len(size)), size)[shared] << 32 | rank[column[shared]]
        place.sort()
        return cls((place >> 32).astype(np.int32), place.astype(np.int32), size)

    def only(self, kept: NDArray[np.bool_]) -> _Words:
        """Return some of the entries."""
        return _Words(self.row[kept], self.column[kept], self.size)

    def between(self, group: Integers) -> _Words:
        """Keep the columns that rows of several groups have."""
        width = int(self.column.max(initial=-1)) + 1
        lowest, highest = np.full(width, len(group)), np.full(width, -1)
        np.minimum.at(lowest, self.column, group[self.row])
        np.maximum.at(highest, self.column, group[self.row])
        return self.only((lowest < highest)[self.column])

    def rare(self) -> _Words:
        """Leave out the commonest k-mers of each row, as far as it still has them."""
        after = np.cumsum(np.bincount(self.row, minlength=len(self.size)))[self.row] - np.arange(len(self.row))
        return self.only(after > _common(self.size)[self.row])

    def matrix(self, width: int) -> csr_array:
        """Return the matrix of so many columns."""
        begins = np.concatenate(([0], np.cumsum(np.bincount(self.row, minlength=len(self.size)))))
        ones = np.ones(len(self.row), dtype=np.int32)
        return csr_array((ones, self.column, begins), shape=(len(self.size), width))


def _linked(words: _Words) -> Integers:
    """Return the group of each row."""
    size, width = words.size, int(words.column.max(initial=-1)) + 1
    group = np.arange(len(size))
    # At random, so that early rows are of all large families, which are groups from then on.
    pending = np.random.default_rng(0).permutation(len(size))
    budget = max(len(words.row), _PRODUCTS)
    while len(pending):
        words = words.between(group)
        whole, rare = words.matrix(width), words.rare().matrix(width)
        # Rows of the largest group are compared with others, and others with all.
        outside = group != np.bincount(group).argmax()
        among_all = whole.T.tocsr()
        among_others = words.only(outside[words.row]).matrix(width).T.tocsr()
        work = np.where(outside, *(rare @ np.diff(columns.indptr) for columns in (among_all, among_others)))
        pending = pending[work[pending] > 0]
        total = np.cumsum(work[pending])
        now = int(np.searchsorted(total, budget)) + 1
        for rows in np.split(pending[:now], np.flatnonzero(np.diff(total[:now] // _PRODUCTS)) + 1):
            for side, columns in ((outside[rows], among_all), (~outside[rows], among_others)):
                for one, other in _candidates(rows[side], rare, columns, size):
                    group = _joined(group, one, other, whole, size)
        pending = pending[now:]
        budget *= 4  # what groups have made needless is left out again
    return group


def _common(size: Integers) -> Integers:
    """Return how many of the commonest k-mers of a row no candidate is looked for by."""
    return size // 4


def _candidates(
    rows: Integers, rare: csr_array, columns: csr_array, size: Integers
) -> Iterator[tuple[Integers, Integers]]:
    """Yield pairs of rows, the shorter one first, that share enough of the rarest k-mers of the shorter one."""
    found = coo_array(rare[rows] @ columns)
    one, other = rows[found.row], found.col.astype(np.int64)
    needed = (size[one] + 1) // 2 - _common(size[one])
    enough = (found.data >= needed) & (size[other] >= size[one]) & (one != other)
    one, other = one[enough], other[enough]
    for start in range(0, len(one), _PAIRS):
        yield one[start : start + _PAIRS], other[start : start + _PAIRS]


def _joined(group: Integers, one: Integers, other: Integers, whole: csr_array, size: Integers) -> Integers:
    """Return the groups after pairs of rows, of which the first are the shorter ones, have been compared."""
    apart = group[one] != group[other]
    one, other = one[apart], other[apart]
    shared = whole[one].multiply(whole[other]).sum(axis=1)
    linked = 2 * shared >= size[one]
    ends = group[one[linked]], group[other[linked]]
    count = int(group.max(initial=-1)) + 1
    if not len(ends[0]):
        return group
    _, merged = connected_components(coo_array((np.ones(len(ends[0])), ends), shape=(count, count)), directed=False)
    joined: Integers = merged[group].astype(np.int64)
    return joined


def _words(text: str) -> Integers:
    """Return the k-mers of a sequence, those of both strands as one, and each occurrence as a number of its own."""
    letters = from_text(text.strip()) & np.uint8(LETTER_BITS)
    count = max(len(letters) - K + 1, 0)
    forward, reverse = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    known = np.ones(count, dtype=bool)
    for offset in range(K):
        letter = letters[offset : offset + count].astype(np.int64)
        forward = forward * 4 + letter
        reverse += (3 - letter) << (2 * offset)
        known &= letter < 4
    words = np.sort(np.minimum(forward, reverse)[known])
    begins = np.flatnonzero(np.diff(words, prepend=-1))
    occurrence = np.arange(len(words)) - np.repeat(begins, np.diff(begins, append=len(words)))
    each: Integers = words + _OCCURRENCE * occurrence
    return each


def _relabelled(group: Integers) -> Integers:
    """Return groups numbered from 0 in the order of their first rows."""
    _, first, which = np.unique(group, return_index=True, return_inverse=True)
    rank = np.empty_like(first)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[which]
