"""Validates during training."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hnet_dna.config.recipe import LogSettings, Mean
from hnet_dna.data.mixture import Mixture
from hnet_dna.evaluation.score import Score
from hnet_dna.inference.strands import annotate_intervals
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval
from hnet_dna.training.progress import Measurement
from hnet_dna.training.trainer import Training, TrainingObserver


class Validation(TrainingObserver):
    """Measures bits per base on the validation parts, every `validate_every` steps and after the last one.

    The recipe's `validate_bases` are shared out evenly over the genomes that have such a part; of each, its beginning
    is measured.
    """

    def __init__(self, mixture: Mixture, recipe: LogSettings) -> None:
        """Prepare to measure; without a validation part, or with `validate_every` 0, nothing is."""
        parts = [part for part in mixture.parts if part.split.valid]
        each = -(-recipe.validate_bases // max(len(parts), 1))
        self._parts = [(part, beginning(part.split.valid, each)) for part in parts]
        self._every = recipe.validate_every if parts else 0
        self._mean, self._several = recipe.best_by, mixture.several
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
        scores = self._scores(training.model)
        training.spend(time.perf_counter() - began)
        shares = {part.name: part.share for part, _ in self._parts}
        progress, bits = training.progress, mean_of(scores, shares, self._mean)
        best = progress.best is None or bits < progress.best
        if best:
            training.progress = replace(progress, best=bits)
        self._measured_at = progress.step
        measurement = Measurement(
            progress.step,
            progress.seconds,
            bits,
            sum(scores.values(), Score()).positions_per_chunk,
            best,
            self._mean if self._several else "",
            {name: score.bits_per_base for name, score in scores.items()} if self._several else {},
        )
        for observer in training.observers:
            observer.measured(training, measurement)

    def _scores(self, model: HNetLM) -> dict[str, Score]:
        """Measure a model that is left in training mode, on each genome."""
        model.eval()
        scores = {}
        for part, intervals in self._parts:
            score = Score()
            for bases in annotate_intervals(part.genome, intervals, model):
                score += Score.of(bases)
            scores[part.name] = score
        model.train()
        return scores


def mean_of(scores: Mapping[str, Score], shares: Mapping[str, float], mean: Mean) -> float:
    """Return bits per base over several genomes by one of the recipe's means, NaN over nothing.

    Genomes without a base A, C, G or T count in none of them.
    """
    known = {name: score for name, score in scores.items() if score.bases}
    if not known:
        return float("nan")
    if mean == "bases" or len(known) == 1:
        return sum(known.values(), Score()).bits_per_base
    weights = {name: shares[name] if mean == "windows" else 1.0 for name in known}
    return sum(weights[name] * score.bits_per_base for name, score in known.items()) / sum(weights.values())


def beginning(intervals: Sequence[Interval], bases: int) -> list[Interval]:
    """Return the first `bases` bases of some intervals."""
    kept = []
    for interval in intervals:
        if bases <= 0:
            break
        kept.append(Interval(interval.contig, interval.start, min(interval.end, interval.start + bases)))
        bases -= len(kept[-1])
    return kept
