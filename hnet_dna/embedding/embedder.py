"""One vector per sequence: run, pool, average strands.

Runs of N are cut out; what lies between them is run as sequences of their own and pooled together. Short stretches are
sorted by length and run side by side; long ones are streamed with the model's state, so that memory does not grow with
them. Neither changes a result by more than rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from hnet_dna.embedding.levels import LevelReader, Vectors
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.inference.stream import PIECE
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import INVALID, LETTER_BITS, N_CODE, Codes, from_text, reverse_complement, runs_of_n

Pooling = Literal["mean", "max", "last", "boundary"]
Strand = Literal["+", "-", "both"]
_ROWS = 256


@dataclass
class _Pool:
    """What has been seen of one sequence on one strand, in float64."""

    width: int
    count: float = 0.0
    weight: float = 0.0
    total: NDArray[np.float64] = field(init=False)
    weighted: NDArray[np.float64] = field(init=False)
    largest: NDArray[np.float64] = field(init=False)
    last: NDArray[np.float64] = field(init=False)
    last_place: tuple[int, int] = (-1, -1)

    def __post_init__(self) -> None:
        self.total, self.weighted, self.last = (np.zeros(self.width) for _ in range(3))
        self.largest = np.full(self.width, -np.inf)

    def add(self, vectors: Vectors, place: tuple[int, int]) -> None:
        """Add the vectors of a piece; `place` orders pieces within the sequence."""
        if not len(vectors.value):
            return
        value = vectors.value.astype(np.float64)
        self.count += len(value)
        self.weight += float(vectors.weight.sum())
        self.total += value.sum(axis=0)
        self.weighted += vectors.weight.astype(np.float64) @ value
        self.largest = np.maximum(self.largest, value.max(axis=0))
        if place > self.last_place:
            self.last, self.last_place = value[-1], place

    def result(self, pooling: Pooling) -> NDArray[np.float64]:
        if pooling == "mean":
            return self.total / self.count
        if pooling == "boundary":
            return self.weighted / self.weight
        return self.largest if pooling == "max" else self.last


class Embedder:
    """Turns sequences into vectors.

    Attributes:
        model: any with an alphabet.
        level: see `hnet_dna.embedding.levels`.
        pooling: mean, max or last vector, or the mean weighted by boundary probability.
        strand: `both` is the mean of the vectors of the sequence and of its reverse complement.
        run, padded: bases run so far, and with padding.
    """

    def __init__(self, model: HNetLM, level: str = "chunk", pooling: Pooling = "mean", strand: Strand = "both") -> None:
        for name, value, known in (("pooling", pooling, get_args(Pooling)), ("strand", strand, get_args(Strand))):
            if value not in known:
                raise UsageError(f"{name} {value!r}: expected {', '.join(known)}")
        self.model, self.level, self.pooling, self.strand = model, level, pooling, strand
        self._reader = LevelReader(model, level)
        self.run = self.padded = 0

    @property
    def width(self) -> int:
        """Length of a vector."""
        return self._reader.width

    def embed(
        self, sequences: Sequence[Codes], on_bases: Callable[[int], None] = lambda count: None
    ) -> list[NDArray[np.float32] | None]:
        """Return a vector for each sequence, None where it has no A, C, G or T.

        `on_bases` is told how many bases more have been run; on both strands, each counts twice.
        """
        usable = [bool(((codes & LETTER_BITS) < 4).any()) for codes in sequences]
        strands = []
        if self.strand != "-":
            strands.append(self._pool(sequences, on_bases))
        if self.strand != "+":
            strands.append(self._pool([reverse_complement(codes) for codes in sequences], on_bases))
        found: list[NDArray[np.float32] | None] = []
        for index, good in enumerate(usable):
            if not good:
                found.append(None)
                continue
            each = [pools[index].result(self.pooling) for pools in strands]
            found.append(np.mean(each, axis=0).astype(np.float32))
        return found

    def chunks(self, codes: Codes) -> Iterator[Vectors]:
        """Yield the vectors of one sequence, as read forward, with positions in the sequence."""
        for start, end in _stretches(codes):
            state = None
            for first in range(start, end, PIECE):
                (vectors,), state = self._reader.read(codes[None, first : min(first + PIECE, end)], state)
                yield Vectors(vectors.value, vectors.weight, vectors.position + first)

    def chunk_ends(self, starts: NDArray[np.int64], codes: Codes) -> NDArray[np.int64]:
        """Return where chunks that begin at `starts` end: at the next, or where their stretch ends."""
        ends = np.append(starts[1:], len(codes))
        for _, stretch_end in _stretches(codes):
            last = int(np.searchsorted(starts, stretch_end)) - 1
            ends[last] = min(ends[last], stretch_end)
        return ends

    def _pool(self, sequences: Sequence[Codes], on_bases: Callable[[int], None]) -> list[_Pool]:
        pools = [_Pool(self.width) for _ in sequences]
        short: list[tuple[int, int, Codes]] = []
        for index, codes in enumerate(sequences):
            for order, (start, end) in enumerate(_stretches(codes)):
                if end - start <= PIECE:
                    short.append((index, order, codes[start:end]))
                    continue
                state = None
                for piece, first in enumerate(range(start, end, PIECE)):
                    part = codes[None, first : min(first + PIECE, end)]
                    (vectors,), state = self._reader.read(part, state)
                    pools[index].add(vectors, (order, piece))
                    self.run, self.padded = self.run + part.size, self.padded + part.size
                    on_bases(part.size)
        short.sort(key=lambda item: len(item[2]), reverse=True)
        while short:
            longest = len(short[0][2])
            rows = max(1, min(_ROWS, PIECE // longest))
            batch, short = short[:rows], short[rows:]
            codes = np.full((len(batch), longest), N_CODE, dtype=np.uint8)
            for row, (_, _, part) in enumerate(batch):
                codes[row, : len(part)] = part
            found, _ = self._reader.read(codes, None, torch.tensor([len(part) for _, _, part in batch]))
            for (index, order, _), vectors in zip(batch, found, strict=True):
                pools[index].add(vectors, (order, 0))
            bases = sum(len(part) for _, _, part in batch)
            on_bases(bases)
            self.run += bases
            self.padded += codes.size
        return pools


def embed(
    model: HNetLM,
    sequences: Iterable[str],
    *,
    level: str = "chunk",
    pooling: Pooling = "mean",
    strand: Strand = "both",
) -> NDArray[np.float32]:
    """Embed sequences given as text.

    Args:
        model: any with an alphabet.
        sequences: letters A, C, G, T, N and other IUPAC codes, in any case.
        level: see `Embedder`, as for the next two.
        pooling: of the vectors of a sequence.
        strand: which strand is read, or both.

    Returns:
        (N, D) in the order of the sequences.

    Raises:
        SequenceError: a sequence has no A, C, G or T, or holds another letter.
        TypeError: one text in place of several.
    """
    if isinstance(sequences, str):
        raise TypeError("sequences: expected several texts, got one; write [sequence]")
    codes = [encode(text, f"sequence {index}") for index, text in enumerate(sequences)]
    embedder = Embedder(model, level, pooling, strand)
    with evaluating(model):
        found = embedder.embed(codes)
    for index, vector in enumerate(found):
        if vector is None:
            raise SequenceError(f"sequence {index} has no A, C, G or T: it cannot be embedded")
    return np.array([vector for vector in found if vector is not None], dtype=np.float32).reshape(-1, embedder.width)


@contextmanager
def evaluating(model: HNetLM) -> Iterator[None]:
    """Switch every module to evaluation, and afterwards those back to training that were training."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def encode(text: str, name: str) -> Codes:
    """Turn text into nucleotide codes, naming the sequence in the error for any other letter."""
    codes = from_text(text.strip())
    if INVALID in codes:
        letter = text.strip()[int(np.flatnonzero(codes == INVALID)[0])]
        raise SequenceError(
            f"{name}: {letter!r} is not a nucleotide letter; expected A, C, G, T, U, N or another IUPAC code"
        )
    return codes


def _stretches(codes: Codes) -> list[tuple[int, int]]:
    """Return what lies between runs of N."""
    stretches, start = [], 0
    for run_start, run_end in [*runs_of_n(codes).tolist(), (len(codes), len(codes))]:
        if run_start > start:
            stretches.append((start, run_start))
        start = run_end
    return stretches
