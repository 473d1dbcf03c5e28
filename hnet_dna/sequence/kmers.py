"""The number of each k-mer of a sequence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hnet_dna.sequence.codes import LETTER_BITS, Codes, is_acgt

LONGEST = 31  # bases of a k-mer whose number fits 63 bits


def kmer_numbers(codes: Codes, k: int) -> NDArray[np.int64]:
    """Return the number of every k-mer of a sequence, from the first to the last.

    A k-mer is read as a number in base 4: A, C, G and T are 0 to 3, and the first letter counts most.

    Args:
        codes: (L,) nucleotide codes; soft-masking makes no difference.
        k: bases of a k-mer, 1 to 31.

    Returns:
        (max(L - k + 1, 0),) from 0 to 4^k - 1; -1 where the k-mer has a letter other than A, C, G or T.

    Raises:
        ValueError: k is not between 1 and 31.
    """
    if not 1 <= k <= LONGEST:
        raise ValueError(f"k: expected 1 to {LONGEST}, got {k}")
    if len(codes) < k:
        return np.zeros(0, dtype=np.int64)
    letters = (codes & np.uint8(LETTER_BITS)).astype(np.int64)
    # Two k-mers side by side make one of twice the length, so that the work grows with log k rather than with k.
    numbers, length = letters, 1
    for bit in f"{k:b}"[1:]:
        numbers = numbers[:-length] << 2 * length | numbers[length:]
        length *= 2
        if bit == "1":
            numbers = numbers[:-1] << 2 | letters[length:]
            length += 1
    others = np.flatnonzero(~is_acgt(codes))
    for offset in range(k):
        starts = others - offset
        numbers[starts[(starts >= 0) & (starts < len(numbers))]] = -1
    return numbers
