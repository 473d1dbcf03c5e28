"""Learned chunks along contigs, streamed in constant memory.

Chunks of a stage tile each contig except for its runs of N. What lies between two runs of N is one sequence to the
model; its first base begins a chunk by definition (p = 1) and says nothing about the bases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hnet_dna.data.fasta import Piece
from hnet_dna.errors import UsageError
from hnet_dna.evaluate.stream import Stream
from hnet_dna.model.lm import HNetLM, HNetOutput
from hnet_dna.sequence.codes import runs_of_n

PIECE = 1 << 14  # bases run at once; it changes speed and memory, not the result


@dataclass(frozen=True)
class Chunks:
    """Consecutive chunks of one contig.

    Attributes:
        contig: record name.
        start, end: (K,) 0-based half-open, in bases.
        prob: (K,) boundary probability at the first base.
        first: index of the first of them, counted from 0 in each contig.
    """

    contig: str
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    prob: NDArray[np.float64]
    first: int


def segment(pieces: Iterable[Piece], model: HNetLM, *, stage: int = 0, piece: int = PIECE) -> Iterator[Chunks]:
    """Run a model over FASTA pieces and yield the chunks of a stage (0 outermost), in file order."""
    if not 0 <= stage < model.n_chunking_stages:
        wanted = f"0 to {model.n_chunking_stages - 1}" if model.n_chunking_stages else "a model that has a router"
        raise UsageError(
            f"--stage {stage}: this model has {model.n_chunking_stages} chunking stages; expected {wanted}"
        )
    current: _Open | None = None
    for fasta_piece in pieces:
        if current is None or current.contig != fasta_piece.record:
            if current is not None:
                yield from current.close()
            current = _Open(fasta_piece.record, model, stage)
        position = 0
        for run_start, run_end in [*runs_of_n(fasta_piece.codes), (len(fasta_piece.codes), None)]:
            for start in range(position, run_start, piece):
                codes = fasta_piece.codes[start : min(start + piece, run_start)]
                yield from current.feed(fasta_piece.start + start, codes)
            if run_end is not None:
                yield from current.close()
                position = int(run_end)
    if current is not None:
        yield from current.close()


class _Open:
    """A contig being read: the stream through the model, and the chunk whose end is not yet known."""

    def __init__(self, contig: str, model: HNetLM, stage: int) -> None:
        self.contig, self._model, self._stage = contig, model, stage
        self._stream: Stream | None = None
        self._start = self._end = 0
        self._prob = 1.0
        self._index = 0

    def feed(self, start: int, codes: NDArray[np.uint8]) -> Iterator[Chunks]:
        """Run bases that follow directly on the last ones, or begin a new stretch."""
        fresh = self._stream is None
        if self._stream is None:
            self._stream = Stream(self._model)
        positions, probs = boundaries(self._stream.feed(codes), self._stage)
        positions = positions + start
        self._end = start + len(codes)
        if not fresh:
            positions = np.concatenate(([self._start], positions))
            probs = np.concatenate(([self._prob], probs))
        self._start, self._prob = int(positions[-1]), float(probs[-1])
        if len(positions) > 1:
            yield self._chunks(positions[:-1], positions[1:], probs[:-1])

    def close(self) -> Iterator[Chunks]:
        """End the last chunk where the bases end."""
        if self._stream is not None:
            self._stream = None
            yield self._chunks(np.array([self._start]), np.array([self._end]), np.array([self._prob]))

    def _chunks(self, start: NDArray[np.int64], end: NDArray[np.int64], prob: NDArray[np.float64]) -> Chunks:
        first = self._index
        self._index += len(start)
        return Chunks(self.contig, start, end, prob, first)


def boundaries(output: HNetOutput, stage: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return where chunks of a stage begin in a one-row piece, in bases from its start, and their probabilities."""
    outer = output.stages[0]
    positions = np.arange(int(outer.length[0]))
    for index in range(stage + 1):
        mask = output.stages[index].boundary_mask[0, : len(positions)].cpu().numpy()
        prob = output.stages[index].boundary_prob[0, : len(positions)].cpu().numpy()[mask]
        positions = positions[mask]
    return positions.astype(np.int64), prob.astype(np.float64)
