"""How long a run trains, how far it has come, and what it tells on the way: values, without behaviour."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hnet_dna.data.mix_sampler import MixPosition
from hnet_dna.errors import UsageError


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        step: optimizer steps taken, or left out.
        seconds: time spent training.
        position: where the window sampler stands.
        window: bases per window in the last step; 0 before the first.
        best: fewest bits per base on the validation part so far, by the recipe's mean over genomes; None before the
            first measurement.
        meter, watch: sums since the last report, and running means, as JSON.
    """

    step: int = 0
    seconds: float = 0.0
    position: MixPosition = field(default_factory=MixPosition)
    window: int = 0
    best: float | None = None
    meter: dict[str, Any] = field(default_factory=dict)
    watch: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Budget:
    """When to stop: after a number of steps, or after a time; exactly one is given."""

    steps: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.seconds is None):
            raise UsageError("a run ends after a number of steps or after a time: give one of them")
        limit = self.seconds if self.steps is None else self.steps
        if limit is None or not 0 <= limit < math.inf:
            raise UsageError(f"a run ends after a finite number of steps or time, 0 or more; got {limit}")

    def share(self, progress: Progress) -> float:
        """Return how much of the budget is used, 0 to 1."""
        used, limit = (progress.seconds, self.seconds) if self.steps is None else (progress.step, self.steps)
        return min(1.0, used / limit) if limit else 1.0


@dataclass(frozen=True)
class StepReport:
    """What the loop tells about the last few steps.

    Attributes:
        progress: step, time and position reached.
        share: how much of the budget is used.
        bits: training bits per base.
        bases_per_chunk: for each chunking stage, positions of that stage per chunk.
        bases_per_second: training speed over all ranks, reading and optimizer included.
        learning_rate: at base resolution.
        waiting: share of the time spent waiting for data.
        genomes: training bits per base of each genome that was read, by its name; empty where there is one genome.
    """

    progress: Progress
    share: float
    bits: float
    bases_per_chunk: tuple[float, ...]
    bases_per_second: float
    learning_rate: float
    waiting: float
    genomes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """What a validation has found.

    Attributes:
        step, seconds: when; its own time is counted.
        bits: bits per base on the validation part; of several genomes, by the recipe's mean.
        positions_per_chunk: mean chunk length of each stage, in positions of that stage.
        best: whether no measurement before had fewer bits.
        mean: the mean's name; empty where there is one genome.
        genomes: bits per base of each genome that has a validation part, by its name; empty where there is one genome.
    """

    step: int
    seconds: float
    bits: float
    positions_per_chunk: tuple[float, ...]
    best: bool
    mean: str = ""
    genomes: Mapping[str, float] = field(default_factory=dict)
