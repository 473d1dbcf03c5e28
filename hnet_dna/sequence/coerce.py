"""Turns what Python programs hold sequences in (text, Biopython, pyfaidx, arrays) into nucleotide codes."""

from __future__ import annotations

from collections.abc import Sized
from typing import TypeAlias

import numpy as np

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.sequence.codes import INVALID, LETTER_BITS, LETTERS, SOFT_MASK, Codes, from_text

SequenceLike: TypeAlias = str | bytes | Codes | Sized
"""A sequence: text or ASCII bytes, a `Bio.Seq.Seq`, a `SeqRecord`, a record or sequence of pyfaidx, or codes."""

_EXPECTED = "expected text, Bio.Seq, SeqRecord, a record of pyfaidx, or an array of codes"


def as_codes(sequence: SequenceLike, name: str = "sequence") -> Codes:
    """Return a sequence as nucleotide codes, (L,).

    Args:
        sequence: see `SequenceLike`. Blanks around text do not count; lower case is soft-masked; U is read as T. Codes
            are checked, and returned without copying.
        name: what errors call it.

    Raises:
        SequenceError: a letter that is not a nucleotide code, or a sequence without content.
        UsageError: an object of another kind.
    """
    if isinstance(sequence, np.ndarray):
        return _checked(sequence, name)
    text = as_text(sequence, name)
    codes = from_text(text)
    wrong = np.flatnonzero(codes == INVALID)
    if len(wrong):
        raise SequenceError(
            f"{name}: {text[wrong[0]]!r} is not a nucleotide letter (base {wrong[0] + 1:,}); expected A, C, G, T, U, N "
            "or another IUPAC code"
        )
    return codes


def as_text(sequence: SequenceLike, name: str = "sequence") -> str:
    """Return the letters of any sequence but an array of codes as they stand, without blanks around them."""
    held = getattr(sequence, "seq", sequence)  # of a SeqRecord, or of a sequence of pyfaidx
    if isinstance(held, bytes | bytearray):
        return held.decode("latin-1").strip()
    if isinstance(held, str):
        return held.strip()
    try:
        text, length = str(held), len(held)
    except TypeError:
        text, length = "", None
    except ValueError as error:  # Biopython's, for a sequence of known length and unknown content
        raise SequenceError(f"{name}: {error}") from None
    # The text of a Bio.Seq and of a record of pyfaidx is the sequence itself; that of a list, say, is not.
    if len(text) != length:
        raise UsageError(f"{name}: {_EXPECTED}, got {type(sequence).__name__}")
    return text.strip()


def name_of(sequence: object) -> str | None:
    """Return the name that a sequence has: `id` of a SeqRecord, `name` of a record of pyfaidx, else None."""
    for attribute in ("id", "name"):
        name = getattr(sequence, attribute, None)
        if isinstance(name, str) and name:
            return name
    return None


def _checked(codes: Codes, name: str) -> Codes:
    if codes.dtype != np.uint8 or codes.ndim != 1:
        raise UsageError(f"{name}: expected codes (L,) of uint8, got {codes.shape} of {codes.dtype}")
    if len(codes) and (int(codes.max()) >= 2 * SOFT_MASK or int((codes & np.uint8(LETTER_BITS)).max()) >= len(LETTERS)):
        raise SequenceError(f"{name}: holds numbers that are not codes; text becomes codes by hnet_dna.as_codes(text)")
    return codes
