"""What may follow training: validation, checkpoints, reports. The loop knows nothing of them but these hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hnet_dna.training.progress import Measurement, StepReport

if TYPE_CHECKING:
    from hnet_dna.training.trainer import Training


class TrainingObserver:
    """Follows training; every method may be overridden, and does nothing here.

    With several ranks, each of them calls its own observers at the same points, so that an observer which all ranks
    have may work together with its likes.
    """

    def begin(self, training: Training) -> None:
        """Take note of where training begins or goes on."""

    def step(self, training: Training) -> None:
        """Take note of a step; the time of what it does, told to `Training.spend`, is a part of the budget."""

    def step_over(self, training: Training, last: bool) -> None:
        """Take note that all observers know of the step, and of whether it was the last one."""

    def report(self, report: StepReport) -> None:
        """Take note of the last few steps."""

    def measured(self, training: Training, measurement: Measurement) -> None:
        """Take note of a validation."""

    def event(self, step: int, message: str) -> None:
        """Take note that a step was left out, a router collapsed, or the like."""

    def keep(self, training: Training) -> str:
        """Keep the state, since training ends before its time; return where it is, empty for nowhere."""
        return ""

    def end(self, training: Training) -> None:
        """Take note that training has come to its end."""
