"""Nucleotide codes: one byte per base, with the letter in the low bits and the soft-mask as a bit of its own.

Codes keep what the file says: A, C, G, T, N and the IUPAC ambiguity letters; U is read as T. Which of them a model
knows is decided by its `Alphabet`.
"""

from __future__ import annotations

import zlib
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Codes: TypeAlias = NDArray[np.uint8]

LETTERS = "ACGTNRYSWKMBDHV"
COMPLEMENTS = "TGCANYRSWMKVHDB"
N_CODE = LETTERS.index("N")
SOFT_MASK = 0x10
LETTER_BITS = 0x0F
INVALID = 0xFF
_NOT_ACGT = np.uint64(0x0C0C0C0C0C0C0C0C)


def _byte_table() -> bytes:
    table = bytearray([INVALID] * 256)
    for code, letter in enumerate(LETTERS):
        table[ord(letter)] = code
        table[ord(letter.lower())] = code | SOFT_MASK
    table[ord("U")] = LETTERS.index("T")
    table[ord("u")] = LETTERS.index("T") | SOFT_MASK
    return bytes(table)


def _complement_table() -> Codes:
    table = np.arange(256, dtype=np.uint8)
    for code, letter in enumerate(COMPLEMENTS):
        table[code] = LETTERS.index(letter)
        table[code | SOFT_MASK] = LETTERS.index(letter) | SOFT_MASK
    return table


BYTE_TO_CODE = _byte_table()
_COMPLEMENT = _complement_table()
_CODE_TO_BYTE = np.full(256, ord("?"), dtype=np.uint8)
for _code, _letter in enumerate(LETTERS):
    _CODE_TO_BYTE[_code] = ord(_letter)
    _CODE_TO_BYTE[_code | SOFT_MASK] = ord(_letter.lower())


def from_text(text: str) -> Codes:
    """Encode a sequence such as `ACGTn`; any letter that is not a nucleotide code becomes `INVALID`."""
    return np.frombuffer(text.encode("latin-1", "replace").translate(BYTE_TO_CODE), dtype=np.uint8)


def to_text(codes: Codes) -> str:
    """Decode to letters, lower case where soft-masked."""
    return _CODE_TO_BYTE[codes].tobytes().decode()


def reverse_complement(codes: Codes) -> Codes:
    """Return the reverse complement of (..., L) codes; soft-mask bits stay with their bases."""
    length = codes.shape[-1]
    words = np.zeros((*codes.shape[:-1], -(-length // 8)), dtype=np.uint64)
    words.view(np.uint8)[..., words.shape[-1] * 8 - length :] = codes
    if (words & _NOT_ACGT).any():
        return _COMPLEMENT[codes[..., ::-1]]
    # A, C, G, T are 0 to 3, so that the complement is one bit operation, and eight bases are reversed at a time. This
    # is several times as fast as the table, and training windows hardly hold other letters.
    turned = words[..., ::-1].byteswap().view(np.uint8)[..., :length]
    return turned ^ np.uint8(3)


def checksum_of(codes: Codes) -> int:
    """Return the CRC-32 of the letters, by which a sequence is recognised; soft-masking makes no difference."""
    return zlib.crc32(np.ascontiguousarray(codes & np.uint8(LETTER_BITS)).tobytes())


def is_acgt(codes: Codes) -> NDArray[np.bool_]:
    """Return for each code (any shape) whether it is A, C, G or T, soft-masked or not."""
    known: NDArray[np.bool_] = (codes & np.uint8(LETTER_BITS)) < 4
    return known


def runs(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the maximal runs of True as (K, 2) half-open intervals."""
    padded = np.concatenate(([False], mask, [False]))
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return edges.reshape(-1, 2).astype(np.int64)


def runs_of_n(codes: Codes) -> NDArray[np.int64]:
    """Return the maximal runs of N as (K, 2) half-open intervals."""
    return runs((codes & LETTER_BITS) == N_CODE)


def stretches(codes: Codes) -> list[tuple[int, int]]:
    """Return the stretches between runs of N as half-open intervals (start, end), none of them empty."""
    return [(start, end) for start, end in runs((codes & LETTER_BITS) != N_CODE).tolist()]


def n_known(codes: Codes) -> int:
    """Count letters other than N."""
    return int(((codes & LETTER_BITS) != N_CODE).sum())


def n_ambiguous(codes: Codes) -> int:
    """Count IUPAC letters other than A, C, G, T, N."""
    return int(((codes & LETTER_BITS) > N_CODE).sum())
