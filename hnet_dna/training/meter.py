"""Sums over the steps between two reports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hnet_dna.training.progress import Progress, StepReport


class Meter:
    """Sums between two reports, in float64; `restore(state())` goes on as if nothing had happened."""

    def __init__(self, stages: int) -> None:
        self._stages = stages
        self.nats, self.bases, self.seconds, self.waiting = 0.0, 0, 0.0, 0.0
        self.positions, self.chunks = [0] * stages, [0] * stages

    def add(self, nats: float, bases: float, positions: Sequence[float], chunks: Sequence[float]) -> None:
        """Count a step that was taken."""
        self.nats += nats
        self.bases += int(bases)
        for stage in range(self._stages):
            self.positions[stage] += int(positions[stage])
            self.chunks[stage] += int(chunks[stage])

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
            bits=self.nats / math.log(2) / max(self.bases, 1),
            bases_per_chunk=tuple(positions / max(chunks, 1) for positions, chunks in pairs),
            bases_per_second=self.bases / max(self.seconds, 1e-9),
            learning_rate=rate,
            waiting=self.waiting / max(self.seconds, 1e-9),
        )
        self.restore(Meter(self._stages).state())
        return report

    def state(self) -> dict[str, Any]:
        """Return the sums as JSON."""
        return {name: value for name, value in vars(self).items() if name != "_stages"}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        for name, value in state.items():
            setattr(self, name, list(value) if isinstance(value, list) else value)
