"""How new held-out sequence is: which of its words of 31 letters the training part has too.

A word and its reverse complement are one. Of a large training part, only words whose hash is small enough are looked
at, the same ones everywhere, so that shares of them are those of all words to within chance. No split by position keeps
copies apart: repeats, paralogs and relatives that lie in both parts show here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnet_dna.genome.genome import Genome
from hnet_dna.inference.streams import Part
from hnet_dna.sequence.codes import Codes, reverse_complement
from hnet_dna.sequence.interval import Interval
from hnet_dna.sequence.kmers import kmer_numbers

WORD = 31  # the longest whose number has 62 bits, and long enough that none is shared by chance
GROUP, SEEN, NEW = "words", "seen in training", "new"
_MOST = 1 << 23  # words that are kept of a training part
_PIECE = 1 << 15  # bases at once, whose words fit into a processor's cache
Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Containment:
    """Shares of the distinct words of held-out sequence that the training part has, 0 to 1.

    Attributes:
        word: letters of a word; both strands are one.
        one_in: one word in this many was looked at, chosen by its hash.
        whole: share over all held-out sequence; None where it has no word.
        genomes: share of each genome, where there are several.
        contigs: share of each contig that has words.
    """

    word: int
    one_in: int
    whole: float | None
    genomes: Mapping[str, float]
    contigs: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


class Novelty:
    """Looks words of held-out sequence up in those of a training part."""

    def __init__(self, train: Sequence[tuple[Genome, Interval]]) -> None:
        """Collect the words of the intervals to train on."""
        total = sum(len(interval) for _, interval in train)
        self.one_in = 1
        while total > self.one_in * _MOST:
            self.one_in *= 2
        sampled = [self._sampled(words) for genome, part in train for words in _words_of(genome, part)]
        self._seen = _distinct(sampled)
        self._held_out: dict[tuple[str, str], list[Words]] = {}

    def mark(self, genome: Genome, held_out: Mapping[str, Sequence[Interval]], part: Part, name: str = "") -> Marks:
        """Tell for each base of a part of a held-out interval whether words that cover it are seen or new.

        Args:
            genome: that the part is of.
            held_out: rising intervals by contig, beyond which no word reaches.
            part: consecutive bases.
            name: of the genome, where there are several.
        """
        intervals = held_out[part.contig]
        inside = intervals[bisect_right(intervals, part.start, key=lambda interval: interval.start) - 1]
        start, end = max(inside.start, part.start - WORD + 1), min(inside.end, part.end + WORD - 1)
        words, known = _hashes(genome.codes(Interval(part.contig, start, end)))
        looked_at = known & (words < self._limit) if self.one_in > 1 else known
        # In order, which makes looking up several times as fast.
        places = np.flatnonzero(looked_at)
        places = places[np.argsort(words[places])]
        seen = np.zeros_like(looked_at)
        seen[places] = self._has(words[places])
        begins = slice(part.start - start, None)  # each word counts in the part in which it begins
        self._held_out.setdefault((name, part.contig), []).append(words[begins][looked_at[begins]])
        here = slice(part.start - start, part.end - start)
        covered_by_seen, covered = _covered(seen, end - start)[here], _covered(looked_at, end - start)[here]
        return {(GROUP, SEEN): covered_by_seen, (GROUP, NEW): covered & ~covered_by_seen}

    def containment(self) -> Containment:
        """Return shares over all parts that were marked."""
        contigs = {key: _distinct(pieces) for key, pieces in self._held_out.items()}
        names = list(dict.fromkeys(name for name, _ in contigs if name))
        return Containment(
            WORD,
            self.one_in,
            self._share(_distinct(contigs.values())),
            {
                name: share
                for name in names
                if (share := self._share(_distinct(words for (of, _), words in contigs.items() if of == name)))
                is not None
            },
            {
                f"{name}:{contig}" if name else contig: share
                for (name, contig), words in contigs.items()
                if (share := self._share(words)) is not None
            },
        )

    @property
    def _limit(self) -> np.uint64:
        return np.uint64(2**64 // self.one_in - 1)

    def _sampled(self, words: Words) -> Words:
        return words[words < self._limit] if self.one_in > 1 else words

    def _has(self, words: Words) -> NDArray[np.bool_]:
        if not len(self._seen):
            return np.zeros(len(words), dtype=bool)
        place = np.minimum(np.searchsorted(self._seen, words), len(self._seen) - 1)
        seen: NDArray[np.bool_] = self._seen[place] == words
        return seen

    def _share(self, words: Words) -> float | None:
        return float(self._has(words).mean()) if len(words) else None


Marks = dict[tuple[str, str], NDArray[np.bool_]]


def _words_of(genome: Genome, interval: Interval) -> Iterator[Words]:
    for start in range(interval.start, interval.end, _PIECE):
        piece = Interval(interval.contig, start, min(start + _PIECE + WORD - 1, interval.end))
        words, known = _hashes(genome.codes(piece))
        yield words[known]


def _hashes(codes: Codes) -> tuple[Words, NDArray[np.bool_]]:
    """Return the hash of the word that begins at each base, the same on both strands, and whether it is a word."""
    forward = kmer_numbers(codes, WORD)
    backward = kmer_numbers(reverse_complement(codes), WORD)[::-1]
    words = np.minimum(forward, backward).astype(np.uint64)
    # The finalizer of splitmix64, which spreads similar numbers over all 64 bits, no two to one place.
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31)), forward >= 0


def _distinct(pieces: Iterable[Words]) -> Words:
    words = np.concatenate([np.zeros(0, dtype=np.uint64), *pieces])
    words.sort()  # and not np.unique, which hashes and takes a hundred times as long
    return words[np.concatenate([[True], words[1:] != words[:-1]])] if len(words) else words


def _covered(begins: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """Return which of `length` bases lie in a word that begins where `begins` says."""
    change = np.zeros(length + 1, dtype=np.int64)
    places = np.flatnonzero(begins)
    change[places] += 1
    change[places + WORD] -= 1
    inside: NDArray[np.bool_] = np.cumsum(change[:-1]) > 0
    return inside
