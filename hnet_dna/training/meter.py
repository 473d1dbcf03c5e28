"""Sums over the steps between two reports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hnet_dna.training.progress import Progress, StepReport


@dataclass(frozen=True)
class StepSums:
    """Sums over a step.

    Attributes:
        nats, bases: -ln p, and bases counted.
        norm: of the gradient, before it was clipped.
        positions, chunks: of each chunking stage.
        nats_of, bases_of: of each genome; empty where there is one genome.
    """

    nats: float
    bases: float
    norm: float
    positions: list[float]
    chunks: list[float]
    nats_of: list[float]
    bases_of: list[float]

    @classmethod
    def of(cls, sums: list[float], stages: int, genomes: int) -> StepSums:
        """Name what `Step.run` returns; `genomes` is 0 where there is one genome."""
        nats, bases, norm, *rest = sums
        sizes = (stages, stages, genomes, genomes)
        return cls(nats, bases, norm, *([rest.pop(0) for _ in range(size)] for size in sizes))

    @property
    def bits(self) -> float:
        """Bits per base."""
        return _bits(self.nats, self.bases)


class Meter:
    """Sums between two reports, in float64; `restore(state())` goes on as if nothing had happened."""

    def __init__(self, stages: int, genomes: Sequence[str] = ()) -> None:
        """Count for this many chunking stages, and for several genomes of these names."""
        self._stages, self._genomes = stages, genomes
        self.nats, self.bases, self.seconds, self.waiting = 0.0, 0, 0.0, 0.0
        self.positions, self.chunks = [0] * stages, [0] * stages
        self.nats_of, self.bases_of = [0.0] * len(genomes), [0] * len(genomes)

    def add(self, sums: StepSums) -> None:
        """Count a step that was taken."""
        self.nats += sums.nats
        self.bases += int(sums.bases)
        for stage in range(self._stages):
            self.positions[stage] += int(sums.positions[stage])
            self.chunks[stage] += int(sums.chunks[stage])
        for genome, (nats, bases) in enumerate(zip(sums.nats_of, sums.bases_of, strict=True)):
            self.nats_of[genome] += nats
            self.bases_of[genome] += int(bases)

    def spend(self, seconds: float, waiting: float) -> None:
        """Count the time of a step, whether it was taken or left out, and how much of it was spent on waiting."""
        self.seconds += seconds
        self.waiting += waiting

    def report(self, progress: Progress, share: float, rate: float) -> StepReport:
        """Return what the sums amount to, and begin anew."""
        pairs = zip(self.positions, self.chunks, strict=True)
        report = StepReport(
            progress=progress,
            share=share,
            bits=_bits(self.nats, self.bases),
            bases_per_chunk=tuple(positions / max(chunks, 1) for positions, chunks in pairs),
            bases_per_second=self.bases / max(self.seconds, 1e-9),
            learning_rate=rate,
            waiting=self.waiting / max(self.seconds, 1e-9),
            genomes={
                name: _bits(nats, bases)
                for name, nats, bases in zip(self._genomes, self.nats_of, self.bases_of, strict=True)
                if bases
            },
        )
        self.restore(Meter(self._stages, self._genomes).state())
        return report

    def state(self) -> dict[str, Any]:
        """Return the sums as JSON."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        for name, value in state.items():
            setattr(self, name, list(value) if isinstance(value, list) else value)


def _bits(nats: float, bases: float) -> float:
    return nats / math.log(2) / max(bases, 1)
