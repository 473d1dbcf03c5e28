"""Windows as tensors, in order, wherever training stands: any number of workers, any number of ranks.

A step of training reads one batch for all ranks together; rank r takes windows r, r + ranks, ... of it. Workers read
ahead and only change who reads, never what comes next. So the windows of a run depend only on its seed and position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from hnet_dna.data.windows import Position, Window, WindowSampler
from hnet_dna.genome.genome import Genome
from hnet_dna.sequence.codes import N_CODE, reverse_complement

_READ_AHEAD = 4  # batches per worker


@dataclass(frozen=True)
class Batch:
    """Windows of one step on one rank, padded on the right with N.

    Attributes:
        codes: (B, L+1) uint8 nucleotide codes; position t+1 is the target of position t.
        lengths: (B,) int64, bases of each row that are predicted, at most L.
        windows: where the rows come from.
        after: position of the sampler after this step, the same on all ranks.
    """

    codes: Tensor
    lengths: Tensor
    windows: tuple[Window, ...]
    after: Position

    def pin_memory(self) -> Batch:
        """Move to page-locked memory, from which a GPU copies while it computes."""
        return replace(self, codes=self.codes.pin_memory(), lengths=self.lengths.pin_memory())

    def to(self, device: torch.device) -> Batch:
        """Move to a device, without waiting where memory is page-locked."""
        return replace(
            self, codes=self.codes.to(device, non_blocking=True), lengths=self.lengths.to(device, non_blocking=True)
        )


def read_batch(genome: Genome, windows: Sequence[Window], after: Position) -> Batch:
    """Read windows from the genome, each on its strand."""
    spans = [window.interval.end - window.interval.start for window in windows]
    longest = max(spans)
    codes = np.empty((len(windows), longest), dtype=np.uint8)
    turned = []
    for row, (window, span) in enumerate(zip(windows, spans, strict=True)):
        bases = genome.codes(window.interval)
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
    return Batch(torch.from_numpy(codes), torch.from_numpy(lengths), tuple(windows), after)


def stream(
    genome: Genome,
    sampler: WindowSampler,
    start: Position,
    batch: int,
    *,
    rank: int = 0,
    ranks: int = 1,
    workers: int = 0,
    pin: bool = False,
) -> Iterator[Batch]:
    """Yield batches without end.

    Args:
        genome, sampler: what to read and which windows of it.
        start: position to begin at, such as `Batch.after` of the last batch trained on.
        batch: windows per step over all ranks, a multiple of `ranks`.
        rank, ranks: which share of each step to yield.
        workers: processes that read ahead; 0 reads when asked.
        pin: whether batches come in page-locked memory (for a GPU).
    """
    if batch % ranks:
        raise ValueError(f"batch: expected a multiple of {ranks} ranks, got {batch}")
    steps = _Steps(genome, sampler, start, batch, rank, ranks)
    if workers == 0:
        for item in steps:
            yield item.pin_memory() if pin else item
        return
    yield from DataLoader(
        steps, batch_size=None, num_workers=workers, pin_memory=pin, prefetch_factor=_READ_AHEAD
    )  # in the order of the workers, which is that of the steps


class _Steps(IterableDataset[Batch]):
    """Every n-th step for each of n workers; a loader asks its workers in turn."""

    def __init__(
        self, genome: Genome, sampler: WindowSampler, start: Position, batch: int, rank: int, ranks: int
    ) -> None:
        self._genome, self._sampler, self._start = genome, sampler, start
        self._batch, self._rank, self._ranks = batch, rank, ranks

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        mine, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        position, step = self._start, 0
        while True:
            windows, position = self._sampler.take(position, self._batch)
            if step % workers == mine:
                yield read_batch(self._genome, windows[self._rank :: self._ranks], position)
            step += 1
