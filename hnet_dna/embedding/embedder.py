"""One vector per sequence: the model is run, its vectors are pooled, and the strands are averaged.

Runs of N are cut out. The stretches between them are run as sequences of their own, and their vectors are pooled
together. `hnet_dna.inference.streams` says what is run side by side; long stretches are streamed with the model's
state, so that memory does not grow with their length. Neither changes a result by more than rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnet_dna.embedding.inputs import SequencesLike, named_sequences
from hnet_dna.embedding.levels import LevelReader, Vectors
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.genome.fasta import Piece
from hnet_dna.inference.load import load_model
from hnet_dna.inference.stream import piece_of, streams_of
from hnet_dna.inference.streams import Batch, Part, side_by_side
from hnet_dna.model.hnet import InnerState
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import Codes, is_acgt, reverse_complement, stretches
from hnet_dna.sequence.coerce import as_codes
from hnet_dna.sequence.strand import check_strand

POOLINGS = ("mean", "max", "last", "boundary")
_ROWS = 256  # stretches run in one batch at most


def poolings(text: str) -> tuple[str, ...]:
    """Return the poolings that `mean+max` or `bins:8` names.

    Raises:
        UsageError: there is no such pooling.
    """
    names = tuple(text.split("+"))
    for name in names:
        kind, _, count = name.partition(":")
        bins = kind == "bins" and count.isdecimal() and int(count) > 0
        if not bins and name not in POOLINGS:
            raise UsageError(
                f"`pooling`: expected {', '.join(POOLINGS)}, bins:NUMBER or several joined by +, got {name!r}"
            )
    if len(set(names)) < len(names):
        raise UsageError(f"`pooling`: {text!r} names a pooling twice")
    return names


class _Pool:
    """Running sums over the vectors of one sequence at one level on one strand, in float64."""

    def __init__(self, width: int, poolings: Sequence[str], length: int, *, turned: bool) -> None:
        """Prepare for a sequence of this many bases; `turned` tells that its bins are wanted in the reverse order."""
        self._poolings, self._length, self._turned = poolings, length, turned
        self._count = self._weight = 0.0
        self._total, self._weighted, self._last = (np.zeros(width) for _ in range(3))
        self._largest = np.full(width, -np.inf)
        counts = {int(name.partition(":")[2]) for name in poolings if name.startswith("bins:")}
        self._bins = {count: (np.zeros((count, width)), np.zeros((count, 1))) for count in counts}

    def add(self, vectors: Vectors, first: int, end: int) -> None:
        """Add the vectors of the next piece.

        Args:
            vectors: with positions in the piece.
            first, end: the piece's place in the sequence.
        """
        value = vectors.value.astype(np.float64)
        if self._bins:
            self._add_to_bins(value, vectors.position + first, first, end)
        if not len(value):
            return
        self._count += len(value)
        self._weight += float(vectors.weight.sum())
        self._total += value.sum(axis=0)
        self._weighted += vectors.weight.astype(np.float64) @ value
        self._largest = np.maximum(self._largest, value.max(axis=0))
        self._last = value[-1]

    def _add_to_bins(self, value: NDArray[np.float64], start: NDArray[np.int64], first: int, end: int) -> None:
        if not len(start) or start[0] > first:  # the chunk of the piece before goes on
            value, start = np.concatenate([self._last[None], value]), np.append(first, start)
        stop = np.append(start[1:], end)
        for count, (total, weight) in self._bins.items():
            edges = np.arange(count + 1) * (self._length / count)
            bases = np.minimum(stop, edges[1:, None]) - np.maximum(start, edges[:-1, None])  # (bins, vectors)
            bases = np.maximum(bases, 0.0)
            total += bases @ value
            weight += bases.sum(axis=1, keepdims=True)

    def result(self) -> NDArray[np.float64]:
        """Return the pooled vectors, side by side."""
        return np.concatenate([self._pooled(name) for name in self._poolings])

    def _pooled(self, pooling: str) -> NDArray[np.float64]:
        if pooling == "mean":
            return self._total / self._count
        if pooling == "boundary":
            return self._weighted / self._weight
        if pooling in ("max", "last"):
            return self._largest if pooling == "max" else self._last
        total, weight = self._bins[int(pooling.partition(":")[2])]
        bins = total / np.maximum(weight, 1e-9)  # zeros where a bin has nothing but N
        flat: NDArray[np.float64] = (bins[::-1] if self._turned else bins).ravel()
        return flat


class Embedder:
    """Turns sequences into vectors.

    Attributes:
        model: any model with an alphabet.
        level: where in the network vectors are taken; see `embed`.
        pooling: how one vector is made of those of a sequence; see `embed`.
        strand: `+` reads the sequence as given, `-` its reverse complement, and `both` takes the mean of the two
            vectors.
        run, padded: bases run so far, without and with padding.
    """

    def __init__(
        self,
        model: HNetLM,
        level: str = "chunk",
        pooling: str = "mean",
        strand: str = "both",
        *,
        streams: int | None = None,
    ) -> None:
        """Prepare; `streams` sequences are run side by side, or as many as suit the model's device."""
        self._poolings = poolings(pooling)
        self.model, self.level = model, level
        self.pooling, self.strand = pooling, check_strand(strand)
        self._reader = LevelReader(model, level)
        self._piece, self._streams = piece_of(model), streams or streams_of(model)
        self.run = self.padded = 0

    @property
    def width(self) -> int:
        """Length of a vector."""
        vectors = sum(int(name.partition(":")[2] or 1) for name in self._poolings)
        return vectors * sum(self._reader.widths)

    def embed(
        self, sequences: Sequence[Codes], on_bases: Callable[[int], None] = lambda count: None
    ) -> list[NDArray[np.float32] | None]:
        """Return a vector (D,) for each sequence, or None where it has no A, C, G or T.

        `on_bases` is called with the number of bases that were run since its last call; with both strands, each base
        counts twice.
        """
        read = [] if self.strand == "-" else [(codes, False) for codes in sequences]
        if self.strand != "+":
            read += [(reverse_complement(codes), self.strand == "both") for codes in sequences]
        pools = [
            [_Pool(width, self._poolings, len(codes), turned=turned) for width in self._reader.widths]
            for codes, turned in read
        ]
        for index, part, of_levels in self._read([codes for codes, _ in read]):
            for pool, of_level in zip(pools[index], of_levels, strict=True):
                pool.add(of_level, part.start, part.end)
            on_bases(len(part.codes))
        vectors: list[NDArray[np.float32] | None] = []
        for index, codes in enumerate(sequences):
            if not is_acgt(codes).any():
                vectors.append(None)
                continue
            of_strands = [np.concatenate([pool.result() for pool in of]) for of in pools[index :: len(sequences)]]
            vectors.append(np.mean(of_strands, axis=0).astype(np.float32))
        return vectors

    def chunks(self, codes: Codes) -> Iterator[Vectors]:
        """Yield the vectors of one sequence, read forward, piece by piece, with positions in the sequence."""
        for _, part, (vectors,) in self._read([codes]):
            yield Vectors(vectors.value, vectors.weight, vectors.position + part.start)

    def chunk_ends(self, starts: NDArray[np.int64], codes: Codes) -> NDArray[np.int64]:
        """Return where the chunks that begin at `starts` end: where the next one begins, or at the next run of N."""
        ends = np.append(starts[1:], len(codes))
        for _, stretch_end in stretches(codes):
            last = int(np.searchsorted(starts, stretch_end)) - 1
            ends[last] = min(ends[last], stretch_end)
        return ends

    def _read(self, sequences: Sequence[Codes]) -> Iterator[tuple[int, Part, tuple[Vectors, ...]]]:
        """Run sequences; yield the number of each with the vectors of its parts, in their order, by level."""

        def launch(
            batch: Batch, state: InnerState | None
        ) -> tuple[InnerState | None, Callable[[], list[tuple[Vectors, ...]]]]:
            self.run, self.padded = self.run + int(batch.lengths.numpy().sum()), self.padded + batch.codes.size
            if batch.last and state is None:
                return None, self._reader.launch_whole(batch.codes, batch.lengths)
            return self._reader.launch(batch.codes, batch.lengths, state)

        return side_by_side(
            ([Piece("", 0, codes, uracils=0)] for codes in sequences),
            launch,
            device=self.model.lm_head.weight.device,
            streams=self._streams,
            piece=self._piece,
            rows=_ROWS,
        )


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
        model: a model in memory, which stays in its mode, or anything that `load_model` takes.
        sequences: text, `Bio.Seq`, `SeqRecord`, records of pyfaidx or arrays of codes; also a `pyfaidx.Fasta` or a
            mapping of names to sequences. Letters are A, C, G, T, U, N and other IUPAC codes, in any case.
        level: where in the network vectors are taken: `encoder`, `decoder`, `chunk`, `chunk:1` and so on, or several
            side by side, such as `encoder+decoder`.
        pooling: `mean`, `max` or `last` of a sequence's vectors; `boundary`, the mean weighted by boundary
            probability; `bins:K`, the means over the bases of K equal parts, for sequences whose positions correspond;
            or several side by side, such as `mean+max`. With both strands, bins are in the order of the sequence as
            given.
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
