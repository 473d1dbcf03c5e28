"""Order-k Markov models, the baseline that any DNA language model has to beat, and a mixture of them.

Counts come from both strands of the training part, with one pseudo-count per letter. A base without k bases before it
in its segment costs 2 bits. Any letter other than A, C, G, T breaks the context.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from hnet_dna.sequence.codes import Codes, is_acgt, reverse_complement
from hnet_dna.sequence.kmers import kmer_numbers

_BLOCK = 1 << 22
MAX_ORDER = 12
MIXTURE_DECAY = 0.95  # how much of an order's past success counts one base later
_TILE = 64


class MarkovModel:
    """Counts of words of k + 1 letters; memory is 4^(k+2) bytes."""

    def __init__(self, order: int, train: Iterable[Codes]) -> None:
        """Count the words of both strands of segments of nucleotide codes."""
        if not 0 <= order <= MAX_ORDER:
            raise ValueError(f"order: expected 0 to {MAX_ORDER}, got {order}")
        self.order = order
        counts = np.zeros(4 ** (order + 1), dtype=np.uint32)
        one = np.uint32(1)
        for segment in train:
            for start in range(0, max(len(segment) - order, 0), _BLOCK):
                block = segment[start : start + _BLOCK + order]  # overlapping by k, so that each word is in one block
                for strand in (block, reverse_complement(block)):
                    words = kmer_numbers(strand, order + 1)
                    np.add.at(counts, words[words >= 0], one)
        self._table = counts.reshape(-1, 4)

    def bits(self, segment: Codes) -> NDArray[np.float64]:
        """Return -log2 p of each base of a segment in float64, 0 where it is not A, C, G or T."""
        bits = np.where(is_acgt(segment), 2.0, 0.0)
        for start in range(0, max(len(segment) - self.order, 0), _BLOCK):
            words = kmer_numbers(segment[start : start + _BLOCK + self.order], self.order + 1)
            place = np.flatnonzero(words >= 0)
            context = self._table[words[place] >> 2].astype(np.float64)
            hits = np.take_along_axis(context, (words[place] & 3)[:, None], axis=1)[:, 0]
            place += start + self.order
            bits[place] = -np.log2((hits + 1.0) / (context.sum(axis=1) + 4.0))
        return bits


class Baselines:
    """Uniform, Markov models of several orders and their mixture, fed with a sequence in pieces.

    The mixture is that of the DNA compressors of the GeCo family: the weight of a model at base t is in proportion to
    2^-s, s being the bits that it has spent so far, forgotten at a rate of `MIXTURE_DECAY` per base. What predicted
    well lately is trusted more.
    """

    def __init__(self, train: Sequence[Codes], orders: Iterable[int]) -> None:
        """Count words of every order in segments of nucleotide codes."""
        self._models = [MarkovModel(order, train) for order in orders]
        self._context = max((model.order for model in self._models), default=0)
        self._before: Codes = np.zeros(0, dtype=np.uint8)
        self._spent = np.zeros(len(self._models))

    def feed(self, codes: Codes, *, first: bool) -> dict[str, NDArray[np.float64]]:
        """Return -log2 p of each base under each baseline; `first` begins a new sequence."""
        if first:
            self._before, self._spent = self._before[:0], np.zeros(len(self._models))
        joined = np.concatenate([self._before, codes])
        skip = len(self._before)
        known = is_acgt(codes)
        bits = {"uniform": np.where(known, 2.0, 0.0)}
        each = [model.bits(joined)[skip:] for model in self._models]
        bits |= {markov_name(model.order): found for model, found in zip(self._models, each, strict=True)}
        if each:
            bits[MIXTURE] = self._mix(np.stack(each), known)
        self._before = joined[len(joined) - min(self._context, len(joined)) :]
        return bits

    def _mix(self, bits: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
        spent = _decayed_sums(bits, self._spent)
        last, spent = spent[:, -1], spent[:, :-1]
        weights = np.exp2(spent.min(axis=0) - spent)
        mixed = -np.log2((weights * np.exp2(-bits)).sum(axis=0) / weights.sum(axis=0))
        self._spent = last
        return np.where(known, mixed, 0.0)


MIXTURE = "markov_mixture"


def markov_name(order: int) -> str:
    """Return the name under which results of an order are kept."""
    return f"markov_{order}"


def _decayed_sums(values: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return s (K, L+1) with s[:, 0] = before and s[:, t] = decay s[:, t-1] + values[:, t-1], tile by tile."""
    count, length = values.shape
    tiles = length // _TILE + 1
    padded = np.zeros((count, tiles * _TILE))
    padded[:, :length] = values
    tiled = padded.reshape(count, tiles, _TILE)
    i = np.arange(_TILE)
    powers = MIXTURE_DECAY ** np.arange(_TILE + 1.0)
    inside = np.where(i[:, None] > i, powers[np.maximum(i[:, None] - i - 1, 0)], 0.0)
    sums = tiled @ inside.T
    added = tiled @ powers[_TILE - 1 - i]
    carried = np.zeros((count, tiles))
    carried[:, 0] = before
    for tile in range(1, tiles):
        carried[:, tile] = powers[_TILE] * carried[:, tile - 1] + added[:, tile - 1]
    sums += carried[..., None] * powers[i]
    return sums.reshape(count, -1)[:, : length + 1]
