"""Counting the words of a training part for a model's memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hnet_dna.data.mixture import Mixture
from hnet_dna.genome.genome import Genome
from hnet_dna.model.lm import HNetLM
from hnet_dna.model.memory import LEAST
from hnet_dna.sequence.codes import Codes, is_acgt, reverse_complement, runs
from hnet_dna.sequence.interval import Interval
from hnet_dna.sequence.kmers import kmer_numbers

_AT_ONCE = 1 << 24  # words sorted at once, in about half a gigabyte
_ALL = 1 << 28  # the most words, on both strands, that are all counted
_PIECE = 1 << 22  # bases read at once


Stretches = Sequence[tuple[Genome, Sequence[Interval]]]  # of several genomes


def learn_words(model: HNetLM, mixture: Mixture) -> None:
    """Fill the memory of a new model with the words of all training parts, both strands; nothing without a memory."""
    if model.memory is None:
        return
    stretches = [(part.genome, part.segments) for part in mixture.parts]
    for table in model.memory.counted.values():
        table.fill(*count_words(stretches, table.k, model.config.max_words))


def count_words(stretches: Stretches, k: int, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count what follows each word of k letters in stretches without N of some genomes, on both strands.

    Words that occur once are left out; of more than `most` others, those counted most often stay, and among equals
    those first in order. Of a genome beyond a hundred megabases, words are chosen by a sample of it, then counted in
    all of it.

    Returns:
        The words' numbers (W,), rising, and the counts (W, 4) of A, C, G, T after them.
    """
    total = _words_in(stretches)
    if total <= _ALL:
        numbers, counts = _count_all(stretches, k)
    else:
        pieces = [(genome, [piece]) for genome, segments in stretches for s in segments for piece in _cut(s)]
        numbers, counts = _count_all(pieces[:: -(-total // _ALL)], k)
        numbers, _ = _most_frequent(numbers, counts, 4 * most)
        counts = _count_these(stretches, numbers, k)
    return _most_frequent(numbers, counts, most)


def _most_frequent(
    numbers: NDArray[np.int64], counts: NDArray[np.int64], most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    kept = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[:most])
    return numbers[kept], counts[kept]


def _words_in(stretches: Stretches) -> int:
    return 2 * sum(len(segment) for _, segments in stretches for segment in segments)


def _count_all(stretches: Stretches, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count all words, in as many passes as memory asks for, each over those that begin alike."""
    total, passes = _words_in(stretches), 1
    while total > passes * _AT_ONCE:
        passes *= 4
    counted = [_count(_words(stretches, k, part, passes)) for part in range(passes)]
    return np.concatenate([numbers for numbers, _ in counted]), np.concatenate([counts for _, counts in counted])


def _count(followed: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count words with the base after them, numbers of k + 1 letters (N,), which are sorted in place."""
    followed.sort()
    begins = np.flatnonzero(np.diff(followed >> 2, prepend=-1))
    times = np.diff(begins, append=len(followed))
    kept = times >= LEAST
    base = followed[np.repeat(kept, times)] & 3
    of = np.repeat(np.arange(kept.sum()), times[kept])
    return followed[begins[kept]] >> 2, np.bincount(4 * of + base, minlength=4 * int(kept.sum())).reshape(-1, 4)


def _count_these(stretches: Stretches, numbers: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Count what follows the words of these numbers, which rise."""
    counts = np.zeros(4 * len(numbers), dtype=np.int64)
    for codes in _strands(stretches, overlap=k):
        followed = kmer_numbers(codes, k + 1)
        place = np.searchsorted(numbers, followed >> 2)
        known = numbers[np.minimum(place, len(numbers) - 1)] == followed >> 2
        counts += np.bincount(4 * place[known] + (followed[known] & 3), minlength=len(counts))
    return counts.reshape(-1, 4)


def _words(stretches: Stretches, k: int, part: int, parts: int) -> NDArray[np.int64]:
    """Return all words of k letters with the one after them, as numbers; of `parts`, those that begin alike."""
    pieces = [np.zeros(0, dtype=np.int64)]
    for codes in _strands(stretches, overlap=k):
        followed = kmer_numbers(codes, k + 1)
        if parts > 1:
            followed = followed[followed * parts >> 2 * (k + 1) == part]
        pieces.append(followed)
    return np.concatenate(pieces)


def _strands(stretches: Stretches, overlap: int) -> Iterator[Codes]:
    """Yield both strands of all stretches of A, C, G, T, in pieces that repeat the last bases of the one before."""
    for genome, segment in ((genome, segment) for genome, segments in stretches for segment in segments):
        codes = genome.codes(segment)
        for begin, end in runs(is_acgt(codes)).tolist():
            for start in range(begin, end, _PIECE):
                piece = codes[start : min(start + _PIECE + overlap, end)]
                yield piece
                yield reverse_complement(piece)


def _cut(segment: Interval) -> Iterator[Interval]:
    for start in range(segment.start, segment.end, _PIECE):
        yield Interval(segment.contig, start, min(start + _PIECE, segment.end))
