"""Saves the state of training, and the best model, in a run folder."""

from __future__ import annotations

import time
from typing import Any

from hnet_dna.training.observer import TrainingObserver
from hnet_dna.training.progress import Measurement
from hnet_dna.training.run_folder import RunFolder
from hnet_dna.training.trainer import Training

_SAVING_SHARE = 0.02  # of the time, at most, where checkpoints are due by the clock


class Checkpoints(TrainingObserver):
    """Writes a checkpoint every `checkpoint_every` seconds, less often where that takes over a fiftieth of the time.

    All ranks have one, since each holds a share of the state.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._saved_at, self._rest = 0.0, 0.0

    def begin(self, training: Training) -> None:
        """Take the time."""
        self._saved_at, self._rest = training.progress.seconds, training.recipe.checkpoint_every

    def step_over(self, training: Training, last: bool) -> None:
        """Save if it is time, which all ranks agree on, since their clocks differ."""
        old = training.progress.seconds - self._saved_at >= self._rest
        if last or training.ranks.agree(old)[0]:
            self._rest = rest_after(self._save(training), training.recipe.checkpoint_every)
            self._saved_at = training.progress.seconds

    def keep(self, training: Training) -> str:
        """Save, and return the folder."""
        self._save(training)
        return str(self._folder.path)

    def _save(self, training: Training) -> float:
        """Write a checkpoint; return the seconds that it took."""
        began = time.perf_counter()
        keep, ranks = training.recipe.keep_checkpoints, training.ranks
        self._folder.save(training.model, training.optimizer, training.state(), keep=keep, ranks=ranks)
        ranks.wait()
        return time.perf_counter() - began


class BestModel(TrainingObserver):
    """Keeps the model with the fewest bits on the validation part; all ranks have one, as of `Checkpoints`."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def measured(self, training: Training, measurement: Measurement) -> None:
        """Save the model if it is the best so far."""
        if measurement.best:
            reason: dict[str, Any] = {"step": measurement.step, "valid_bits_per_base": measurement.bits}
            if measurement.genomes:
                reason |= {"mean": measurement.mean, "genomes": dict(measurement.genomes)}
            self._folder.save_best(training.model, reason, training.ranks)


def rest_after(saving: float, every: float) -> float:
    """Return the seconds until the next checkpoint; with `every` 0 each step has one, whatever it takes."""
    return max(every, saving / _SAVING_SHARE) if every else 0.0
