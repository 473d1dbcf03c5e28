"""One vector per sequence: the model is run, its vectors are pooled, and the strands are averaged.

Runs of N are cut out. The stretches between them are run as sequences of their own, and their vectors are pooled
together. Short stretches are sorted by length and run in batches; long ones are streamed with the model's state, so
that memory does not grow with their length. Neither changes a result by more than rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from hnet_dna.embedding.inputs import SequencesLike, named_sequences
from hnet_dna.embedding.levels import LevelReader, Vectors
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.inference.load import load_model
from hnet_dna.inference.stream import PIECE
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import N_CODE, Codes, is_acgt, reverse_complement, stretches
from hnet_dna.sequence.coerce import as_codes
from hnet_dna.sequence.strand import check_strand

Pooling = Literal["mean", "max", "last", "boundary"]
_ROWS = 256  # stretches run in one batch at most


@dataclass
class _Pool:
    """Running sums over the vectors of one sequence on one strand, in float64."""

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
        """Add the vectors of a piece; `place` (stretch, piece) orders the pieces of a sequence."""
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
        model: any model with an alphabet.
        level: where in the network vectors are taken: `encoder`, `decoder`, `chunk`, `chunk:1` and so on.
        pooling: `mean`, `max` or `last` of a sequence's vectors, or `boundary`, the mean weighted by boundary
            probability.
        strand: `+` reads the sequence as given, `-` its reverse complement, and `both` takes the mean of the two
            vectors.
        run, padded: bases run so far, without and with padding.
    """

    def __init__(self, model: HNetLM, level: str = "chunk", pooling: str = "mean", strand: str = "both") -> None:
        if pooling not in get_args(Pooling):
            raise UsageError(f"`pooling`: expected {', '.join(get_args(Pooling))}, got {pooling!r}")
        self.model, self.level = model, level
        self.pooling, self.strand = cast(Pooling, pooling), check_strand(strand)
        self._reader = LevelReader(model, level)
        self.run = self.padded = 0

    @property
    def width(self) -> int:
        """Length of a vector."""
        return self._reader.width

    def embed(
        self, sequences: Sequence[Codes], on_bases: Callable[[int], None] = lambda count: None
    ) -> list[NDArray[np.float32] | None]:
        """Return a vector (D,) for each sequence, or None where it has no A, C, G or T.

        `on_bases` is called with the number of bases that were run since its last call; with both strands, each base
        counts twice.
        """
        pools_of_strands = []
        if self.strand != "-":
            pools_of_strands.append(self._pool(sequences, on_bases))
        if self.strand != "+":
            pools_of_strands.append(self._pool([reverse_complement(codes) for codes in sequences], on_bases))
        vectors: list[NDArray[np.float32] | None] = []
        for index, codes in enumerate(sequences):
            if not is_acgt(codes).any():
                vectors.append(None)
                continue
            of_strands = [pools[index].result(self.pooling) for pools in pools_of_strands]
            vectors.append(np.mean(of_strands, axis=0).astype(np.float32))
        return vectors

    def chunks(self, codes: Codes) -> Iterator[Vectors]:
        """Yield the vectors of one sequence, read forward, piece by piece, with positions in the sequence."""
        for start, end in stretches(codes):
            state = None
            for first in range(start, end, PIECE):
                (vectors,), state = self._reader.read(codes[None, first : min(first + PIECE, end)], state)
                yield Vectors(vectors.value, vectors.weight, vectors.position + first)

    def chunk_ends(self, starts: NDArray[np.int64], codes: Codes) -> NDArray[np.int64]:
        """Return where the chunks that begin at `starts` end: where the next one begins, or at the next run of N."""
        ends = np.append(starts[1:], len(codes))
        for _, stretch_end in stretches(codes):
            last = int(np.searchsorted(starts, stretch_end)) - 1
            ends[last] = min(ends[last], stretch_end)
        return ends

    def _pool(self, sequences: Sequence[Codes], on_bases: Callable[[int], None]) -> list[_Pool]:
        pools = [_Pool(self.width) for _ in sequences]
        short: list[tuple[int, int, Codes]] = []
        for index, codes in enumerate(sequences):
            for order, (start, end) in enumerate(stretches(codes)):
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
            rows_read, _ = self._reader.read(codes, None, torch.tensor([len(part) for _, _, part in batch]))
            for (index, order, _), vectors in zip(batch, rows_read, strict=True):
                pools[index].add(vectors, (order, 0))
            bases = sum(len(part) for _, _, part in batch)
            on_bases(bases)
            self.run += bases
            self.padded += codes.size
        return pools


def embed(
    model: str | Path | HNetLM,
    sequences: SequencesLike,
    *,
    level: str = "chunk",
    pooling: str = "mean",
    strand: str = "both",
) -> NDArray[np.float32]:
    """Return one vector for each sequence.

    Args:
        model: a model in memory, which stays on its device and in its mode, or anything that `load_model` takes.
        sequences: text, `Bio.Seq`, `SeqRecord`, records of pyfaidx or arrays of codes; also a `pyfaidx.Fasta` or a
            mapping of names to sequences. Letters are A, C, G, T, U, N and other IUPAC codes, in any case.
        level: where in the network vectors are taken: `encoder`, `decoder`, `chunk`, `chunk:1` and so on.
        pooling: `mean`, `max` or `last` of a sequence's vectors, or `boundary`, the mean weighted by boundary
            probability.
        strand: `+` reads sequences as given, `-` their reverse complements, and `both` takes the mean of the two
            vectors.

    Returns:
        (N, D) float32, in the order of the sequences.

    Raises:
        SequenceError: a sequence has no A, C, G or T, or holds another letter.
        UsageError: the model has no such level, or there is no such pooling or strand.
        TypeError: a single sequence in place of several.

    Example:
        >>> import hnet_dna
        >>> hnet_dna.embed("five-genomes", ["ACGTTGCA", "GGGCCC"], level="encoder").shape
        (2, 64)
    """
    names, codes = [], []
    for index, (name, sequence) in enumerate(named_sequences(sequences)):
        names.append(f"sequence {index}" if name is None else name)
        codes.append(as_codes(sequence, names[-1]))
    loaded = model if isinstance(model, HNetLM) else load_model(model)
    embedder = Embedder(loaded, level, pooling, strand)
    with evaluating(loaded):
        vectors = embedder.embed(codes)
    for name, vector in zip(names, vectors, strict=True):
        if vector is None:
            raise SequenceError(f"{name} has no A, C, G or T: it cannot be embedded")
    return np.array(vectors, dtype=np.float32).reshape(-1, embedder.width)


@contextmanager
def evaluating(model: HNetLM) -> Iterator[None]:
    """Switch every module to evaluation mode, and afterwards those back to training mode that were in it."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
