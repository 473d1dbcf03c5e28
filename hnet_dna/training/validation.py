"""Validates during training."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from hnet_dna.evaluation.score import Score
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.pieces import forward_pieces
from hnet_dna.inference.stream import annotate
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval
from hnet_dna.training.observer import TrainingObserver
from hnet_dna.training.progress import Measurement
from hnet_dna.training.trainer import Training


class Validation(TrainingObserver):
    """Measures bits per base on the beginning of the validation part, every so many steps and after the last one."""

    def __init__(self, genome: Genome, intervals: Sequence[Interval], every: int, bases: int) -> None:
        """Measure the first so many bases of some intervals; `every` 0 and an empty part measure nothing."""
        self._genome, self._intervals = genome, beginning(intervals, bases)
        self._every = every if self._intervals else 0
        self._measured_at = -1

    def step(self, training: Training) -> None:
        """Measure if it is time."""
        if self._every and training.progress.step % self._every == 0:
            self._measure(training)

    def step_over(self, training: Training, last: bool) -> None:
        """Measure after the last step, unless that is done."""
        if self._every and last and self._measured_at != training.progress.step:
            self._measure(training)

    def _measure(self, training: Training) -> None:
        began = time.perf_counter()
        score = self.measure(training.model)
        training.spend(time.perf_counter() - began)
        progress, bits = training.progress, score.bits_per_base
        best = progress.best is None or bits < progress.best
        if best:
            training.progress = replace(progress, best=bits)
        self._measured_at = progress.step
        found = Measurement(progress.step, progress.seconds, bits, score.positions_per_chunk, best)
        for observer in training.observers:
            observer.measured(training, found)

    def measure(self, model: HNetLM) -> Score:
        """Measure a model that is left in training mode."""
        model.eval()
        score = Score()
        for bases in annotate(forward_pieces(self._genome, self._intervals), model):
            score += Score.of(bases)
        model.train()
        return score


def beginning(intervals: Sequence[Interval], bases: int) -> list[Interval]:
    """Return the first so many bases of some intervals."""
    kept = []
    for interval in intervals:
        if bases <= 0:
            break
        kept.append(Interval(interval.contig, interval.start, min(interval.end, interval.start + bases)))
        bases -= len(kept[-1])
    return kept
