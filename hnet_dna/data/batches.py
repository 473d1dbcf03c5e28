"""Windows as tensors, in order, wherever training stands: any number of workers, any number of ranks.

A step of training reads one batch for all ranks together; rank r takes windows r, r + ranks, ... of it. Workers read
ahead and only change who reads, never what comes next. So the windows of a run depend only on its seed and position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from hnet_dna.data.chunk_lengths import ChunkLengths
from hnet_dna.data.windows import Window
from hnet_dna.genome.genome import Genome
from hnet_dna.sequence.codes import N_CODE, reverse_complement

_READ_AHEAD = 4  # batches per worker
P = TypeVar("P")  # where a sampler stands


class Sampler(Protocol[P]):
    """Gives windows in an order of which a position is all the state."""

    def take(self, position: P, count: int) -> tuple[list[Window], P]:
        """Return the next `count` windows, and the position after them."""


@dataclass(frozen=True)
class Batch(Generic[P]):
    """Windows of one step on one rank, padded on the right with N.

    Attributes:
        codes: (B, L+1) uint8 nucleotide codes; position t+1 is the target of position t.
        lengths: (B,) int64, bases of each row that are predicted, at most L.
        genomes: (B,) int64, the number of each row's genome.
        aims: (B, L+1) uint8, the number of each base's entry in `ChunkLengths.aims`; None where all have the same.
        windows: where the rows come from.
        after: position of the sampler after this step, the same on all ranks.
    """

    codes: Tensor
    lengths: Tensor
    genomes: Tensor
    windows: tuple[Window, ...]
    after: P
    aims: Tensor | None = None

    def pin_memory(self) -> Batch[P]:
        """Move to page-locked memory, from which a GPU copies while it computes."""
        return replace(
            self,
            codes=self.codes.pin_memory(),
            lengths=self.lengths.pin_memory(),
            genomes=self.genomes.pin_memory(),
            aims=None if self.aims is None else self.aims.pin_memory(),
        )

    def to(self, device: torch.device) -> Batch[P]:
        """Move to a device, without waiting where memory is page-locked."""
        return replace(
            self,
            codes=self.codes.to(device, non_blocking=True),
            lengths=self.lengths.to(device, non_blocking=True),
            genomes=self.genomes.to(device, non_blocking=True),
            aims=None if self.aims is None else self.aims.to(device, non_blocking=True),
        )


def read_batch(
    genomes: Sequence[Genome], windows: Sequence[Window], after: P, chunk_lengths: ChunkLengths | None = None
) -> Batch[P]:
    """Read windows from their genomes, each on its strand."""
    spans = [window.interval.end - window.interval.start for window in windows]
    longest = max(spans)
    codes = np.empty((len(windows), longest), dtype=np.uint8)
    turned = []
    for row, (window, span) in enumerate(zip(windows, spans, strict=True)):
        bases = genomes[window.genome].codes(window.interval)
        if span == longest:
            codes[row] = bases
            if window.reverse:
                turned.append(row)
        else:
            codes[row, :span] = reverse_complement(bases) if window.reverse else bases
            codes[row, span:] = N_CODE
    if turned:  # all at once, which saves time on short windows
        codes[turned] = reverse_complement(codes[turned])
    lengths = np.array(spans) - 1
    sources = torch.tensor([window.genome for window in windows])
    aims = None if chunk_lengths is None else torch.from_numpy(_aims(chunk_lengths, windows, longest))
    return Batch(torch.from_numpy(codes), torch.from_numpy(lengths), sources, tuple(windows), after, aims)


def _aims(chunk_lengths: ChunkLengths, windows: Sequence[Window], longest: int) -> NDArray[np.uint8]:
    aims = np.zeros((len(windows), longest), dtype=np.uint8)
    for row, window in zip(aims, windows, strict=True):
        along = chunk_lengths.along(window.genome, window.interval)
        row[: len(along)] = along[::-1] if window.reverse else along
    return aims


def stream(
    genomes: Sequence[Genome],
    sampler: Sampler[P],
    start: P,
    batch: int,
    *,
    rank: int = 0,
    ranks: int = 1,
    workers: int = 0,
    pin: bool = False,
    chunk_lengths: ChunkLengths | None = None,
) -> Iterator[Batch[P]]:
    """Yield batches without end.

    Args:
        genomes, sampler: what to read and which windows of it.
        start: position to begin at, such as `Batch.after` of the last batch trained on.
        batch: windows per step over all ranks, a multiple of `ranks`.
        rank, ranks: which share of each step to yield.
        workers: processes that read ahead; 0 reads when asked.
        pin: whether batches come in page-locked memory (for a GPU).
        chunk_lengths: where chunks are meant to be how long, of these genomes; None where that is the same everywhere.
    """
    if batch % ranks:
        raise ValueError(f"batch: expected a multiple of {ranks} ranks, got {batch}")
    steps = _Steps(genomes, sampler, start, batch, rank, ranks, chunk_lengths)
    if workers == 0:
        for item in steps:
            yield item.pin_memory() if pin else item
        return
    yield from DataLoader(
        steps, batch_size=None, num_workers=workers, pin_memory=pin, prefetch_factor=_READ_AHEAD
    )  # in the order of the workers, which is that of the steps


class _Steps(IterableDataset[Batch[P]]):
    """Every n-th step for each of n workers; a loader asks its workers in turn."""

    def __init__(
        self,
        genomes: Sequence[Genome],
        sampler: Sampler[P],
        start: P,
        batch: int,
        rank: int,
        ranks: int,
        chunk_lengths: ChunkLengths | None,
    ) -> None:
        self._genomes, self._sampler, self._start, self._chunk_lengths = genomes, sampler, start, chunk_lengths
        self._batch, self._rank, self._ranks = batch, rank, ranks

    def __iter__(self) -> Iterator[Batch[P]]:
        worker = get_worker_info()
        mine, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        position, step = self._start, 0
        while True:
            windows, position = self._sampler.take(position, self._batch)
            if step % workers == mine:
                yield read_batch(self._genomes, windows[self._rank :: self._ranks], position, self._chunk_lengths)
            step += 1
