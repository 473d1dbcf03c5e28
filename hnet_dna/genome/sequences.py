"""Reads sequences that are in memory in pieces, as a reader of FASTA does, and holds them to the same rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import numpy as np

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.genome.fasta import PIECE, Piece
from hnet_dna.sequence.coerce import SequenceLike, as_codes, as_text, name_of


def read_sequences(sequences: Mapping[str, SequenceLike] | Iterable[Any] | SequenceLike) -> Iterator[Piece]:
    """Yield the bases of named sequences piece by piece.

    Args:
        sequences: a mapping of names to sequences, objects that have a name (`SeqRecord`, records of pyfaidx), or one
            such object.

    Raises:
        UsageError: they are of another kind, or one has no name.
        SequenceError: a name or a letter that FASTA could not have, a name that occurs twice, or no sequence.
    """
    seen: set[str] = set()
    for name, sequence in _named(sequences):
        if not isinstance(name, str) or not name or any(letter <= " " or letter == "\x7f" for letter in name):
            raise SequenceError(f"record {name!r}: expected a name without blanks and control characters")
        if name in seen:
            raise SequenceError(f"record {name} occurs twice; names must be unique")
        seen.add(name)
        where = f"record {name}"
        uracils = 0
        if not isinstance(sequence, np.ndarray):
            sequence = as_text(sequence, where)
            uracils = sequence.count("U") + sequence.count("u")
        codes = as_codes(sequence, where)
        if len(codes) == 0:
            raise SequenceError(f"record {name} has no sequence")
        for start in range(0, len(codes), PIECE):
            yield Piece(name, start, codes[start : start + PIECE], uracils if start == 0 else 0)
    if not seen:
        raise SequenceError("the genome has no record; expected a sequence or more")


def _named(sequences: Any) -> Iterator[tuple[str, SequenceLike]]:
    if isinstance(sequences, Mapping):
        yield from sequences.items()
    elif name := name_of(sequences):
        yield name, cast(SequenceLike, sequences)
    elif isinstance(sequences, Iterable) and not isinstance(sequences, bytes | np.ndarray):
        for number, sequence in enumerate(sequences, start=1):
            if (name := name_of(sequence)) is None:
                raise UsageError(
                    f"`genome`: item {number} is a {type(sequence).__name__} without a name; expected SeqRecords, or a "
                    "mapping of names to sequences"
                )
            yield name, sequence
    else:
        raise UsageError(
            "`genome`: expected a path, a known name, a pyfaidx.Fasta, a mapping of names to sequences, or SeqRecords, "
            f"got {type(sequences).__name__}"
        )
