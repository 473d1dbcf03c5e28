"""Alphabets: which letters a model knows, and their token ids.

An alphabet is stored by name in a model's configuration. Bits and losses are always over A, C, G and T; a target that
is any other letter is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hnet_dna.errors import ConfigError, did_you_mean, shown
from hnet_dna.sequence.codes import LETTER_BITS, LETTERS, N_CODE, Codes


@dataclass(frozen=True)
class Alphabet:
    """A named mapping from nucleotide letters to token ids.

    Attributes:
        name: as it is stored in `config.json`.
        vocab_size: number of ids.
        ids: token id of each letter of `codes.LETTERS`; ambiguity letters that the alphabet lacks share the id of N.
        letters: how each letter of `codes.LETTERS` is printed.
    """

    name: str
    vocab_size: int
    ids: tuple[int, ...]
    letters: str = LETTERS

    @property
    def base_ids(self) -> tuple[int, int, int, int]:
        """Ids of A, C, G, T (U)."""
        return self.ids[0], self.ids[1], self.ids[2], self.ids[3]

    @property
    def padding_id(self) -> int:
        """The id that padding is filled with; the model never looks at it."""
        return self.ids[N_CODE]

    @property
    def keeps_ambiguity(self) -> bool:
        """Whether IUPAC letters other than N have ids of their own."""
        return self.ids[N_CODE + 1] != self.ids[N_CODE]

    def rereads(self, ambiguous: int, uracils: int) -> list[str]:
        """Say how letters that this alphabet lacks are read, of which a genome has so many."""
        lines = [f"{ambiguous:,} other IUPAC codes read as N"] if ambiguous and not self.keeps_ambiguity else []
        return lines + ([f"{uracils:,} U read as T"] if uracils else [])

    @cached_property
    def _table(self) -> NDArray[np.uint8]:
        table = np.zeros(256, dtype=np.uint8)
        for code in range(256):
            letter = code & LETTER_BITS
            table[code] = self.ids[letter] if letter < len(LETTERS) else self.padding_id
        return table

    def encode(self, codes: Codes) -> NDArray[np.uint8]:
        """Map nucleotide codes (any shape, soft-mask bits ignored) to token ids."""
        return self._table[codes]


def _letters_only(name: str, known: str, printed: str) -> Alphabet:
    ids = tuple(known.index(letter) if letter in known else known.index("N") for letter in LETTERS)
    return Alphabet(name, len(known), ids, printed)


ALPHABETS: dict[str, Alphabet] = {
    "dna": _letters_only("dna", "ACGTN", LETTERS),
    "rna": _letters_only("rna", "ACGTN", LETTERS.replace("T", "U")),
    "iupac": _letters_only("iupac", LETTERS, LETTERS),
    "bytes": Alphabet("bytes", 256, tuple(map(ord, LETTERS))),
}


def alphabet(name: str | None) -> Alphabet:
    """Return an alphabet by name."""
    if name is None:
        raise ConfigError("this model has no alphabet, so it cannot read sequences: its ids do not stand for letters")
    if name not in ALPHABETS:
        raise ConfigError(f"alphabet {shown(name)} does not exist. {did_you_mean(name, ALPHABETS)}")
    return ALPHABETS[name]
