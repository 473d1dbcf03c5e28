"""Features that need no pretraining, which a model has to beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hnet_dna.config.schema import ModelConfig
from hnet_dna.embedding.embedder import Embedder
from hnet_dna.inference import load
from hnet_dna.sequence.codes import LETTER_BITS, Codes, is_acgt
from hnet_dna.sequence.kmers import kmer_numbers

_K = 4


def gc_content(sequences: Sequence[Codes]) -> NDArray[np.float32]:
    """Return the share of G and C among A, C, G and T, (N, 1); 0 where there is none of these."""
    shares = []
    for codes in sequences:
        letters = codes[is_acgt(codes)] & LETTER_BITS
        shares.append(float(((letters == 1) | (letters == 2)).mean()) if len(letters) else 0.0)
    return np.array(shares, dtype=np.float32)[:, None]


def kmer_frequencies(sequences: Sequence[Codes], k: int = _K) -> NDArray[np.float32]:
    """Return the share of each k-mer among those of A, C, G and T only, (N, 4^k)."""
    table = np.zeros((len(sequences), 4**k), dtype=np.float32)
    for row, codes in enumerate(sequences):
        numbers = kmer_numbers(codes, k)
        counts = np.bincount(numbers[numbers >= 0], minlength=4**k)
        table[row] = counts / max(int(counts.sum()), 1)
    return table


def one_hot(sequences: Sequence[Codes]) -> NDArray[np.float32] | None:
    """Return letters by position, (N, 4 L); None where lengths differ, so that positions do not correspond."""
    length = len(sequences[0])
    if any(len(codes) != length for codes in sequences):
        return None
    letters = np.stack(sequences) & LETTER_BITS
    is_letter: NDArray[np.bool_] = letters[..., None] == np.arange(4)
    return is_letter.reshape(len(sequences), -1).astype(np.float32)


def untrained(config: ModelConfig, level: str, pooling: str, strand: str) -> Embedder:
    """Return an embedder with a freshly initialised model of this shape, on the CPU, the same at every call."""
    return Embedder(load.untrained(config), level, pooling, strand)


def embedded(
    embedder: Embedder, sequences: Sequence[Codes], on_bases: Callable[[int], None] = lambda count: None
) -> NDArray[np.float32]:
    """Return vectors (N, D), zeros where a sequence has no A, C, G or T."""
    zeros = np.zeros(embedder.width, dtype=np.float32)
    return np.stack([zeros if vector is None else vector for vector in embedder.embed(sequences, on_bases)])
