"""Features that need no pretraining, which a model has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnet_dna.sequence.codes import LETTER_BITS, Codes, is_acgt
from hnet_dna.sequence.kmers import kmer_numbers


def gc_content(sequences: Sequence[Codes]) -> NDArray[np.float32]:
    """Return the share of G and C among A, C, G and T, (N, 1); 0 where there is none of these."""
    shares = []
    for codes in sequences:
        letters = codes[is_acgt(codes)] & LETTER_BITS
        shares.append(float(((letters == 1) | (letters == 2)).mean()) if len(letters) else 0.0)
    return np.array(shares, dtype=np.float32)[:, None]


class SparseCounts:
    """Shares of k-mers among those of A, C, G and T only, for several k; each table is made when it is asked for."""

    lengths = (3, 4, 5, 6)

    def __init__(self, sequences: Sequence[Codes]) -> None:
        self._sequences = sequences
        self._tables: dict[int, Any] = {}

    def of(self, k: int) -> Any:
        """Return the shares of k-mers, a sparse array (N, 4^k)."""
        if k not in self._tables:
            self._tables[k] = kmer_frequencies(self._sequences, k)
        return self._tables[k]


def kmer_frequencies(sequences: Sequence[Codes], k: int) -> Any:
    """Return the share of each k-mer among those of A, C, G and T only, a sparse array (N, 4^k)."""
    from scipy.sparse import csr_array

    columns, shares, ends = [], [], [0]
    for codes in sequences:
        numbers = kmer_numbers(codes, k)
        present, counts = np.unique(numbers[numbers >= 0], return_counts=True)
        columns.append(present)
        shares.append(counts / max(int(counts.sum()), 1))
        ends.append(ends[-1] + len(present))
    data = np.concatenate(shares).astype(np.float32)
    return csr_array((data, np.concatenate(columns), np.array(ends)), shape=(len(sequences), 4**k))


def one_hot(sequences: Sequence[Codes]) -> NDArray[np.float32] | None:
    """Return letters by position, (N, 4 L); None where lengths differ, so that positions do not correspond."""
    length = len(sequences[0])
    if any(len(codes) != length for codes in sequences):
        return None
    letters = np.stack(sequences) & LETTER_BITS
    is_letter: NDArray[np.bool_] = letters[..., None] == np.arange(4)
    return is_letter.reshape(len(sequences), -1).astype(np.float32)
