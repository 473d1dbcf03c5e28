"""What a model has to beat: features that need no pretraining."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from hnet_dna.config.schema import ModelConfig
from hnet_dna.embedding.embedder import Embedder
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import LETTER_BITS, Codes

_K = 4


def gc_content(sequences: Sequence[Codes]) -> NDArray[np.float32]:
    """Return the share of G and C among A, C, G, T, (N, 1)."""
    values = []
    for codes in sequences:
        letters = codes & LETTER_BITS
        known = letters[letters < 4]
        values.append(float(((known == 1) | (known == 2)).mean()) if len(known) else 0.0)
    return np.array(values, dtype=np.float32)[:, None]


def kmer_frequencies(sequences: Sequence[Codes], k: int = _K) -> NDArray[np.float32]:
    """Return the shares of all words of k letters, (N, 4^k)."""
    table = np.zeros((len(sequences), 4**k), dtype=np.float32)
    for row, codes in enumerate(sequences):
        letters = (codes & LETTER_BITS).astype(np.int64)
        n = len(letters) - k + 1
        if n <= 0:
            continue
        words, known = np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool)
        for offset in range(k):
            letter = letters[offset : offset + n]
            words, known = words * 4 + letter, known & (letter < 4)
        counts = np.bincount(words[known], minlength=4**k)
        table[row] = counts / max(int(counts.sum()), 1)
    return table


def one_hot(sequences: Sequence[Codes]) -> NDArray[np.float32] | None:
    """Return letters by position, (N, 4 L); None where lengths differ, since positions then mean nothing."""
    length = len(sequences[0])
    if any(len(codes) != length for codes in sequences):
        return None
    letters = np.stack(sequences) & LETTER_BITS
    found: NDArray[np.float32] = (letters[..., None] == np.arange(4)).reshape(len(sequences), -1).astype(np.float32)
    return found


def untrained(config: ModelConfig, level: str, pooling: str, strand: str) -> Embedder:
    """Return an embedder by a freshly initialised model of this shape, on the CPU and the same at every call."""
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay what they would have been
        torch.manual_seed(0)
        model = HNetLM(config)
    return Embedder(model.eval(), level, pooling, strand)  # type: ignore[arg-type]


def embedded(
    embedder: Embedder, sequences: Sequence[Codes], on_bases: Callable[[int], None] = lambda count: None
) -> NDArray[np.float32]:
    """Return vectors, (N, D), of zeros where a sequence has no A, C, G or T."""
    zeros = np.zeros(embedder.width, dtype=np.float32)
    return np.stack([zeros if vector is None else vector for vector in embedder.embed(sequences, on_bases)])
