"""Reports every few steps."""

from __future__ import annotations

from hnet_dna.training.observer import TrainingObserver
from hnet_dna.training.trainer import Training

_EVERY = 10  # steps


class Reports(TrainingObserver):
    """Has the loop report every few steps, and after the last one."""

    def step_over(self, training: Training, last: bool) -> None:
        """Have it report if it is time."""
        if training.progress.step % _EVERY == 0 or last:
            training.report()
