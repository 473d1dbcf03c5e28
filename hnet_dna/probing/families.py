"""Families of similar sequences, so that folds do not test on what they trained on.

Two sequences are linked if they share at least a third of the k-mers of the shorter one, on either strand, and more
than chance gives a very short one. Of 12-mers, random substitutions in a tenth of the bases leave about a third. Each
k-mer counts as often as both sequences have it, so a microsatellite is similar to another microsatellite and not to
every sequence with a few of its units; k-mers with another letter than A, C, G and T do not count. A family is all
that links connect, whatever its size, so no two sequences that are linked are in different families.

Few pairs are compared all the same. The sequences are the rows of a sparse matrix and their k-mers its columns. A pair
that shares a third of the k-mers shares some of the rarest five sixths of them, and columns whose rows are known to
belong to one family no longer carry information. The products of what remains name the pairs to compare.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from hnet_dna.sequence.codes import LETTER_BITS, Codes, from_text, reverse_complement

_LONGEST_K = 12  # but for sequences so long that they would share 12-mers by chance
_SURE = 3  # bases by which a stretch has to be longer than those that recur by chance among all sequences
_MOST_KMERS = 30_000_000  # of more than these, a sample is compared: sequences are long then, or very many
_PRODUCTS = 5_000_000  # of entries at a time, which bounds memory
_PAIRS = 20_000  # compared at a time

Integers = NDArray[np.int64]


def families(sequences: Sequence[str]) -> Integers:
    """Return the family (N,) of each sequence, numbered from 0 in their order.

    Copies, on either strand and in any case, are always of one family. A sequence too short to have a k-mer is in a
    family with its copies only.
    """
    if not sequences:
        return np.zeros(0, dtype=np.int64)
    originals, row = np.unique(first_copies(sequences), return_inverse=True)
    words = _Words.of(
        [_codes(sequences[index]) for index in originals.tolist()], word_length(sequences), least_shared(sequences)
    )
    family = _linked(words)
    _, first, number = np.unique(family, return_index=True, return_inverse=True)
    rank = np.empty_like(first)
    rank[np.argsort(first)] = np.arange(len(first))
    numbered: Integers = rank[number[row]]
    return numbered


def first_copies(sequences: Sequence[str]) -> Integers:
    """Return for each sequence (N,) the first one that is the same, on either strand and in any case."""
    first: dict[bytes, int] = {}
    originals = np.empty(len(sequences), dtype=np.int64)
    for index, text in enumerate(sequences):
        codes = _codes(text)
        originals[index] = first.setdefault(min(codes.tobytes(), reverse_complement(codes).tobytes()), index)
    return originals


def word_length(sequences: Sequence[str]) -> int:
    """Return the k of the k-mers by which these sequences are compared.

    A substitution changes k k-mers, and in a short sequence most of them where k is more than a third of its length.
    But unrelated sequences share k-mers by chance, the more of them the shorter k is and the more sequences there are.
    """
    lengths = [len(sequence) for sequence in sequences] or [0]
    third, by_chance = int(np.quantile(lengths, 0.1)) // 3, _power_of_4(sum(lengths))
    return max(min(max(third, by_chance), _LONGEST_K), _power_of_4(2 * max(lengths)) + 2)


def least_shared(sequences: Sequence[str]) -> int:
    """Return how many k-mers in a row two of these sequences hardly ever share by chance."""
    return max(_power_of_4(sum(map(len, sequences))) + _SURE - word_length(sequences) + 1, 1)


def _power_of_4(bases: int) -> int:
    """Return the least k of which there are as many k-mers as bases."""
    return (max(bases - 1, 0).bit_length() + 1) // 2


def _codes(text: str) -> Codes:
    return from_text(text.strip()) & np.uint8(LETTER_BITS)


@dataclass(frozen=True)
class _Words:
    """The k-mers of N different sequences.

    Attributes:
        row, column: entries of the matrix, by row, then column; rare columns come first, those of one row are left out.
        size: (N,) k-mers of each row, with those left out.
        least: shared k-mers that link two rows, if they are a third of the shorter one.
    """

    row: NDArray[np.int32]
    column: NDArray[np.int32]
    size: Integers
    least: int

    @property
    def needed(self) -> Integers:
        """How many k-mers of each row (N,) a longer one has to have too."""
        return np.maximum(-(-self.size // 3), self.least)

    @classmethod
    def of(cls, sequences: Sequence[Codes], k: int, least: int) -> _Words:
        sample = -(-sum(map(len, sequences)) // _MOST_KMERS)
        words = [_words(codes, k, sample) for codes in sequences]
        size = np.array([len(own) for own in words], dtype=np.int64)
        _, column, count = np.unique(np.concatenate(words), return_inverse=True, return_counts=True)
        rank = np.empty_like(count)
        rank[np.argsort(count, kind="stable")] = np.arange(len(count))
        shared = count[column] > 1
        place = np.repeat(np.arange(len(size)), size)[shared] << 32 | rank[column[shared]]
        place.sort()
        return cls((place >> 32).astype(np.int32), place.astype(np.int32), size, -(-least // sample))

    def only(self, kept: NDArray[np.bool_]) -> _Words:
        """Return some of the entries."""
        return _Words(self.row[kept], self.column[kept], self.size, self.least)

    def between(self, family: Integers) -> _Words:
        """Return the entries of columns that rows of several families have."""
        width = int(self.column.max(initial=-1)) + 1
        lowest, highest = np.full(width, len(family)), np.full(width, -1)
        np.minimum.at(lowest, self.column, family[self.row])
        np.maximum.at(highest, self.column, family[self.row])
        return self.only((lowest < highest)[self.column])

    def rare(self) -> _Words:
        """Leave out the commonest k-mers of each row, as far as it still has them."""
        after = np.cumsum(np.bincount(self.row, minlength=len(self.size)))[self.row] - np.arange(len(self.row))
        return self.only(after > _common(self.size)[self.row])

    def matrix(self, width: int) -> csr_array:
        """Return the matrix with this number of columns."""
        begins = np.concatenate(([0], np.cumsum(np.bincount(self.row, minlength=len(self.size)))))
        ones = np.ones(len(self.row), dtype=np.int32)
        return csr_array((ones, self.column, begins), shape=(len(self.size), width))


def _linked(words: _Words) -> Integers:
    """Return the family of each row."""
    size, needed, width = words.size, words.needed, int(words.column.max(initial=-1)) + 1
    family = np.arange(len(size))
    # In random order, so that the first rows include some of each large family, which is known from then on.
    pending = np.random.default_rng(0).permutation(len(size))
    budget = max(len(words.row), _PRODUCTS)
    while len(pending):
        words = words.between(family)
        whole, rare = words.matrix(width), words.rare().matrix(width)
        # Rows of the largest family are compared with others, and others with all.
        outside = family != np.bincount(family).argmax()
        among_all = whole.T.tocsr()
        among_others = words.only(outside[words.row]).matrix(width).T.tocsr()
        work = np.where(outside, *(rare @ np.diff(columns.indptr) for columns in (among_all, among_others)))
        pending = pending[work[pending] > 0]
        total = np.cumsum(work[pending])
        now = int(np.searchsorted(total, budget)) + 1
        for rows in np.split(pending[:now], np.flatnonzero(np.diff(total[:now] // _PRODUCTS)) + 1):
            for side, columns in ((outside[rows], among_all), (~outside[rows], among_others)):
                for shorter, other in _candidates(rows[side], rare, columns, size, needed):
                    family = _joined(family, shorter, other, whole, needed)
        pending = pending[now:]
        budget *= 4  # the next round leaves out the columns that families have made useless
    return family


def _common(size: Integers) -> Integers:
    """Return how many of the commonest k-mers of a row are not used to find candidates."""
    return size // 6


def _candidates(
    rows: Integers, rare: csr_array, columns: csr_array, size: Integers, needed: Integers
) -> Iterator[tuple[Integers, Integers]]:
    """Yield pairs of rows, the shorter one first, that share enough of the rarest k-mers of the shorter one."""
    shared = coo_array(rare[rows] @ columns)
    shorter, other = rows[shared.row], shared.col.astype(np.int64)
    enough = (shared.data >= (needed - _common(size))[shorter]) & (size[other] >= size[shorter]) & (shorter != other)
    shorter, other = shorter[enough], other[enough]
    for start in range(0, len(shorter), _PAIRS):
        yield shorter[start : start + _PAIRS], other[start : start + _PAIRS]


def _joined(family: Integers, shorter: Integers, other: Integers, whole: csr_array, needed: Integers) -> Integers:
    """Compare pairs of rows, and return the families with those joined that a pair links."""
    apart = family[shorter] != family[other]
    shorter, other = shorter[apart], other[apart]
    shared = whole[shorter].multiply(whole[other]).sum(axis=1)
    linked = shared >= needed[shorter]
    if not linked.any():
        return family
    ends = family[shorter[linked]], family[other[linked]]
    count = int(family.max()) + 1
    graph = coo_array((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(count, count))
    joined: Integers = connected_components(graph, directed=False)[1].astype(np.int64)[family]
    return joined


def _words(codes: Codes, k: int, sample: int) -> Integers:
    """Return the k-mers of a sequence as numbers, those of both strands as one, and each occurrence as its own."""
    count = max(len(codes) - k + 1, 0)
    forward, reverse = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    known = np.ones(count, dtype=bool)
    for offset in range(k):
        letter = codes[offset : offset + count].astype(np.int64)
        forward = forward * 4 + letter
        reverse += (3 - letter) << (2 * offset)
        known &= letter < 4
    words = np.minimum(forward, reverse)[known]
    if sample > 1:
        # The high bits of a product with an odd number (Fibonacci hashing) choose the same k-mers in all sequences.
        mixed = words.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        words = words[(mixed >> np.uint64(32)) % np.uint64(sample) == 0]
    words.sort()
    begins = np.flatnonzero(np.diff(words, prepend=-1))
    occurrence = np.arange(len(words)) - np.repeat(begins, np.diff(begins, append=len(words)))
    each: Integers = words + (occurrence << (2 * k))
    return each
