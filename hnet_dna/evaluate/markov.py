"""Order-k Markov models, the baseline that any DNA language model has to beat.

Counts come from both strands of the training part, with one pseudo-count per letter. A base without k bases before it
in its segment costs 2 bits. Any letter other than A, C, G, T breaks the context.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from hnet_dna.sequence.codes import LETTER_BITS, Codes, reverse_complement

_BLOCK = 1 << 22
MAX_ORDER = 12


def markov_bits(train: Iterable[Codes], held_out: Sequence[Codes], order: int) -> float:
    """Return bits per base of an order-k model on held-out segments.

    Args:
        train, held_out: segments of nucleotide codes.
        order: k, 0 to 12; memory is 4^(k+2) bytes.

    Returns:
        Total bits over bases A, C, G, T divided by their number.
    """
    if not 0 <= order <= MAX_ORDER:
        raise ValueError(f"order: expected 0 to {MAX_ORDER}, got {order}")
    counts = np.zeros(4 ** (order + 1), dtype=np.uint32)
    one = np.uint32(1)
    for segment in train:
        for block in _blocks(segment, order):
            for strand in (block, reverse_complement(block)):
                np.add.at(counts, _words(strand, order + 1), one)
    table = counts.reshape(-1, 4)
    bits, bases = 0.0, 0
    for segment in held_out:
        scored = 0
        for block in _blocks(segment, order):
            words = _words(block, order + 1)
            context = table[words >> 2].astype(np.float64)
            hits = np.take_along_axis(context, (words & 3)[:, None], axis=1)[:, 0]
            bits -= float(np.log2((hits + 1.0) / (context.sum(axis=1) + 4.0)).sum())
            scored += len(words)
        known = int(((segment & LETTER_BITS) < 4).sum())
        bits += 2.0 * (known - scored)
        bases += known
    return bits / bases if bases else float("nan")


def _blocks(segment: Codes, order: int) -> Iterable[Codes]:
    """Cut a segment into blocks that overlap by `order`, so that every word lies in exactly one."""
    for start in range(0, max(len(segment) - order, 0), _BLOCK):
        yield segment[start : start + _BLOCK + order]


def _words(codes: Codes, length: int) -> NDArray[np.int64]:
    """Return the base-4 number of every word of `length` letters A, C, G, T."""
    letters = codes & LETTER_BITS
    n = len(letters) - length + 1
    if n <= 0:
        return np.zeros(0, dtype=np.int64)
    words = np.zeros(n, dtype=np.int64)
    known = np.ones(n, dtype=bool)
    for offset in range(length):
        letter = letters[offset : offset + n]
        words = (words << 2) | letter
        known &= letter < 4
    return words[known]
