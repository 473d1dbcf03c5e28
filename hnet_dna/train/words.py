"""Counting the words of a training part for a model's memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hnet_dna.data.genome import Genome
from hnet_dna.data.split import Split, training_segments
from hnet_dna.model.lm import HNetLM
from hnet_dna.model.memory import LEAST
from hnet_dna.sequence.codes import LETTER_BITS, N_CODE, Codes, reverse_complement, runs
from hnet_dna.sequence.interval import Interval

_AT_ONCE = 1 << 26  # words sorted at once: half a gigabyte
_PIECE = 1 << 22  # bases read at once


def learn_words(model: HNetLM, genome: Genome, split: Split) -> None:
    """Fill the memory of a new model with the words of the training part, both strands; nothing without a memory."""
    if model.memory is None:
        return
    segments = training_segments(genome, split)
    for table in model.memory.counted.values():
        table.fill(*count_words(genome, segments, table.k, model.config.max_words))


def count_words(
    genome: Genome, segments: Sequence[Interval], k: int, most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count what follows each word of k letters in stretches without N, on both strands.

    Words that occur once are left out; of more than `most` others, those counted most often stay, and among equals
    those first in order. A large genome is counted in several passes, each over the words that begin alike.

    Returns:
        The words' numbers (W,), rising, and the counts (W, 4) of A, C, G, T after them.
    """
    total = 2 * sum(map(len, segments))
    passes = 1
    while total > passes * _AT_ONCE:
        passes *= 4
    found = [_count(_words(genome, segments, k, part, passes)) for part in range(passes)]
    numbers = np.concatenate([numbers for numbers, _ in found])
    counts = np.concatenate([counts for _, counts in found])
    if len(numbers) > most:
        kept = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[:most])
        numbers, counts = numbers[kept], counts[kept]
    return numbers, counts


def _count(followed: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count words with the base after them, numbers of k + 1 letters (N,), which are sorted in place."""
    followed.sort()
    begins = np.flatnonzero(np.diff(followed >> 2, prepend=-1))
    times = np.diff(begins, append=len(followed))
    kept = times >= LEAST
    of = np.repeat(np.where(kept, np.cumsum(kept) - 1, -1), times)
    counted = of >= 0
    counts = np.bincount(4 * of[counted] + (followed[counted] & 3), minlength=4 * int(kept.sum())).reshape(-1, 4)
    return followed[begins[kept]] >> 2, counts


def _words(genome: Genome, segments: Sequence[Interval], k: int, part: int, parts: int) -> NDArray[np.int64]:
    """Return all words of k letters with the one after them, as numbers; of `parts`, those that begin alike."""
    pieces = [np.zeros(0, dtype=np.int64)]
    for codes in _strands(genome, segments, overlap=k):
        followed = np.zeros(max(len(codes) - k, 0), dtype=np.int64)
        for offset in range(k + 1):
            followed <<= 2
            followed |= codes[offset : offset + len(followed)]
        if parts > 1:
            followed = followed[followed * parts >> 2 * (k + 1) == part]
        pieces.append(followed)
    return np.concatenate(pieces)


def _strands(genome: Genome, segments: Sequence[Interval], overlap: int) -> Iterator[Codes]:
    """Yield both strands of all stretches of A, C, G, T, in pieces that repeat the last bases of the one before."""
    for segment in segments:
        codes: Codes = genome.codes(segment) & np.uint8(LETTER_BITS)
        for begin, end in runs(codes < N_CODE).tolist():
            for start in range(begin, end, _PIECE):
                piece = codes[start : min(start + _PIECE + overlap, end)]
                yield piece
                yield reverse_complement(piece)
