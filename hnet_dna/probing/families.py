"""Families of similar sequences, so that folds do not test on what they trained on.

Two sequences are compared by the k-mers that they share on either strand, each counted as often as it occurs in both.
Comparing all pairs within a family would take quadratic time, so sequences are compared with representatives. A
sequence that shares less than half of its k-mers with every representative becomes one itself. All sequences that share
a third of their k-mers with a common representative belong to one family, and families with a common sequence are one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix, vstack
from scipy.sparse.csgraph import connected_components

from hnet_dna.sequence.codes import Codes, from_text, reverse_complement
from hnet_dna.sequence.kmers import kmer_numbers

REPRESENTED = 0.5  # share of k-mers from which a representative stands for a sequence
RELATED = 1 / 3  # share from which a sequence belongs to the family of a representative
_LONGEST_K, _SHORTEST_K = 12, 5
_LONG_K, _LONG = 20, 100_000  # sequences of this many bases share 12-mers by chance
_COLUMNS = 1 << 22  # to which k-mers are hashed
_MOST_KMERS = 50_000_000  # in all sequences; if there are more, a sample of them is compared
_BLOCK = 256  # sequences compared at once


def families(sequences: Sequence[str]) -> NDArray[np.int64]:
    """Return the family (N,) of each sequence, numbered from 0 in their order.

    Copies, on either strand and in any case, always belong to one family. A sequence that has no k-mer of A, C, G and T
    shares a family with its copies only.
    """
    first: dict[str, int] = {}
    copy = np.array([first.setdefault(canonical(sequence), len(first)) for sequence in sequences], dtype=np.int64)
    if not len(copy):
        return copy
    family = _related(list(first))[copy]
    order: dict[int, int] = {}
    return np.array([order.setdefault(int(number), len(order)) for number in family], dtype=np.int64)


def canonical(sequence: str) -> str:
    """Return a sequence or its reverse complement, whichever comes first in the alphabet, in upper case and with T."""
    letters = sequence.upper().replace("U", "T")
    return min(letters, letters.translate(_COMPLEMENT)[::-1])


def word_length(sequences: Sequence[str]) -> int:
    """Return the k of the k-mers by which these sequences are compared."""
    lengths = [len(sequence) for sequence in sequences]
    if max(lengths) > _LONG:
        return _LONG_K
    # A substitution changes k k-mers: in a short sequence long k-mers would hardly survive one.
    return int(np.clip(np.quantile(lengths, 0.1) // 4, _SHORTEST_K, _LONGEST_K))


_COMPLEMENT = str.maketrans("ACGTRYSWKMBDHVN", "TGCAYRSWMKVHDBN")


def _related(sequences: list[str]) -> NDArray[np.int64]:
    """Return the family of each sequence; all sequences differ."""
    k = word_length(sequences)
    total = sum(max(len(sequence) - k + 1, 0) for sequence in sequences)
    sample = -(-total // _MOST_KMERS)
    rows = [_columns(from_text(sequence), k, sample) for sequence in sequences]
    counts = np.array([len(row) for row in rows])
    order = np.argsort(-counts, kind="stable")  # a representative is at least as long as those it stands for
    blocks = [order[start : start + _BLOCK] for start in range(0, len(order), _BLOCK)]
    matrices = [_matrix([rows[index] for index in block]) for block in blocks]
    chosen = _representatives(matrices, [counts[block] for block in blocks])
    representatives = vstack([matrix[keep] for matrix, keep in zip(matrices, chosen, strict=True)]).T.tocsr()
    names = np.concatenate([block[keep] for block, keep in zip(blocks, chosen, strict=True)])
    left, right = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for block, matrix in zip(blocks, matrices, strict=True):
        row, column = _similar(matrix @ representatives, counts[block], counts[names], RELATED)
        left.append(block[row])
        right.append(names[column])
    edges = np.concatenate(left), np.concatenate(right)
    graph = coo_matrix((np.ones(len(edges[0]), dtype=np.int8), edges), shape=(len(rows), len(rows)))
    family: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return family


def _representatives(matrices: list[Any], counts: list[NDArray[np.int64]]) -> list[NDArray[np.bool_]]:
    """Return for each block which of its rows are representatives."""
    chosen: list[NDArray[np.bool_]] = []
    old: Any = None  # representatives as (columns, rows), made anew only when they have doubled
    old_counts = np.zeros(0, dtype=np.int64)
    recent: list[Any] = []
    recent_counts: list[NDArray[np.int64]] = []
    for matrix, count in zip(matrices, counts, strict=True):
        covered = np.zeros(len(count), dtype=bool)
        if old is not None:
            covered[_similar(matrix @ old, count, old_counts, REPRESENTED)[0]] = True
        if recent:
            newer = vstack(recent).T.tocsr()
            covered[_similar(matrix @ newer, count, np.concatenate(recent_counts), REPRESENTED)[0]] = True
        keep = np.zeros(len(count), dtype=bool)
        open_rows = np.flatnonzero(~covered)
        shared = (matrix[open_rows] @ matrix[open_rows].T).toarray()
        for place, row in enumerate(open_rows):
            before = np.flatnonzero(keep[open_rows[:place]])
            least = REPRESENTED * np.minimum(count[row], count[open_rows[before]])
            keep[row] = not ((shared[place, before] >= least) & (shared[place, before] > 0)).any()
        chosen.append(keep)
        recent.append(matrix[keep])
        recent_counts.append(count[keep])
        if sum(map(len, recent_counts)) > max(len(old_counts), 4 * _BLOCK):
            old = vstack([*([old.T.tocsr()] if old is not None else []), *recent]).T.tocsr()
            old_counts = np.concatenate([old_counts, *recent_counts])
            recent, recent_counts = [], []
    return chosen


def _similar(
    shared: Any, counts: NDArray[np.int64], others: NDArray[np.int64], share: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs (row, column) of a sparse matrix of shared k-mers that share enough of those of the smaller."""
    pairs = shared.tocoo()
    enough = pairs.data >= share * np.minimum(counts[pairs.row], others[pairs.col])
    return pairs.row[enough], pairs.col[enough]


def _matrix(rows: list[NDArray[np.int64]]) -> Any:
    bounds = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    columns = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
    return csr_matrix((np.ones(len(columns), dtype=np.int32), columns, bounds), shape=(len(rows), _COLUMNS))


def _columns(codes: Codes, k: int, sample: int) -> NDArray[np.int64]:
    """Return the columns of a sequence, sorted: one for each k-mer, and a further one each time that it occurs again.

    The columns that two sequences share are then as many as their common k-mers. A long run of one letter shares with a
    short run no more than the length of the short one.
    """
    numbers = np.minimum(kmer_numbers(codes, k), kmer_numbers(reverse_complement(codes), k)[::-1])
    numbers = np.sort(numbers[numbers >= 0]).astype(np.uint64)
    if sample > 1:
        numbers = numbers[_hash(numbers) % np.uint64(sample) == 0]
    # How often the same number occurs before each place of the sorted numbers.
    again = np.arange(len(numbers)) - np.searchsorted(numbers, numbers)
    hashed = _hash(_hash(numbers) + again.astype(np.uint64)) % np.uint64(_COLUMNS)
    return np.unique(hashed.astype(np.int64))


def _hash(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits of numbers (the finaliser of SplitMix64)."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
