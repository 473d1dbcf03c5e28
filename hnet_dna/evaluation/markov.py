"""Order-k Markov models, the baseline that any DNA language model has to beat, and a mixture of them.

Counts come from both strands of the training part, with one pseudo-count per letter. A base without k bases before it
in its segment costs 2 bits. Any letter other than A, C, G, T breaks the context.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from hnet_dna.sequence.codes import LETTER_BITS, Codes, is_acgt, reverse_complement
from hnet_dna.sequence.kmers import kmer_numbers

_BLOCK = 1 << 22
MAX_ORDER = 12
MIXTURE_DECAY = 0.95  # how much of an order's past success counts one base later
_TILE = 64


class MarkovModel:
    """Counts of words of k + 1 letters; memory is 4^(k+2) bytes."""

    def __init__(self, order: int, train: Iterable[Codes]) -> None:
        """Count the words of both strands of segments of nucleotide codes."""
        self.order = order
        self._table = count_words(train, [order])[order]

    @classmethod
    def of_counts(cls, order: int, counts: NDArray[np.unsignedinteger]) -> MarkovModel:
        """Make a model of what `count_words` returned for its order."""
        model = cls.__new__(cls)
        model.order, model._table = order, counts
        return model

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

    def __init__(self, train: Iterable[Codes], orders: Iterable[int]) -> None:
        """Count words of every order in segments of nucleotide codes."""
        self._start(count_words(train, orders))

    @classmethod
    def of_counts(cls, counts: Mapping[int, NDArray[np.unsignedinteger]]) -> Baselines:
        """Make baselines of what `count_words` returned."""
        baselines = cls.__new__(cls)
        baselines._start(counts)
        return baselines

    def _start(self, counts: Mapping[int, NDArray[np.unsignedinteger]]) -> None:
        self._models = [MarkovModel.of_counts(order, counted) for order, counted in counts.items()]
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
        bits |= {markov_name(model.order): of_model for model, of_model in zip(self._models, each, strict=True)}
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


def count_words(train: Iterable[Codes], orders: Iterable[int]) -> dict[int, NDArray[np.unsignedinteger]]:
    """Count the words of k + 1 letters of both strands of segments, for each order k: (4^k, 4).

    Only the longest words are looked up base by base. A shorter word is counted wherever it begins a longer one, and
    besides at the ends of stretches, where none follows.
    """
    orders = list(orders)
    for order in orders:
        if not 0 <= order <= MAX_ORDER:
            raise ValueError(f"order: expected 0 to {MAX_ORDER}, got {order}")
    longest = max(orders, default=-1) + 1
    counts: NDArray[np.unsignedinteger] = np.zeros(4**longest, dtype=np.uint32)
    tails: list[Codes] = []
    one = np.uint32(1)
    for segment in train if longest else ():
        for forward in _known_stretches(segment):
            for stretch in (forward, reverse_complement(forward)):
                tails.append(stretch[len(stretch) - min(longest, len(stretch)) :])
                for start in range(0, max(len(stretch) - longest + 1, 0), _BLOCK):
                    # Overlapping, so that each word is in one block.
                    words = kmer_numbers(stretch[start : start + _BLOCK + longest - 1], longest)
                    np.add.at(counts, words, one)
    by_order: dict[int, NDArray[np.unsignedinteger]] = {}
    for length in range(longest, 0, -1):
        if length < longest:
            summed = counts.reshape(-1, 4).sum(axis=1, dtype=np.uint64)
            ends = [tail[len(tail) - length :] for tail in tails if len(tail) >= length]
            if ends:
                np.add.at(summed, kmer_numbers(np.concatenate(ends), length)[::length], np.uint64(1))
            counts = summed if length < MAX_ORDER - 3 else summed.astype(np.uint32)
        if length - 1 in orders:
            by_order[length - 1] = counts.reshape(-1, 4)
    return {order: by_order[order] for order in orders}


def _known_stretches(segment: Codes) -> Iterator[NDArray[np.uint8]]:
    """Yield the letters of what lies between letters other than A, C, G, T."""
    letters = segment & np.uint8(LETTER_BITS)
    start = 0
    for end in [*np.flatnonzero(~is_acgt(segment)).tolist(), len(letters)]:
        if end > start:
            yield letters[start:end]
        start = end + 1
