"""Writes TensorBoard's event files."""

from __future__ import annotations

from pathlib import Path

from hnet_dna.errors import UsageError
from hnet_dna.training.progress import Measurement, StepReport
from hnet_dna.training.trainer import Training, TrainingObserver


class TensorBoard(TrainingObserver):
    """Writes the figures of reports and validations as scalars."""

    def __init__(self, folder: Path) -> None:
        """Make the event file in a folder.

        Raises:
            UsageError: TensorBoard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UsageError("train.tensorboard needs TensorBoard: pip install 'hnet-dna[tensorboard]'") from None
        self._writer = SummaryWriter(str(folder))

    def report(self, report: StepReport) -> None:
        """Write the scalars of a report."""
        step = report.progress.step
        self._writer.add_scalar("train/bits_per_base", report.bits, step)
        for name, bits in report.genomes.items():
            self._writer.add_scalar(f"train/bits_per_base/{name}", bits, step)
        for stage, length in enumerate(report.bases_per_chunk):
            self._writer.add_scalar(f"train/positions_per_chunk_{stage}", length, step)

    def measured(self, training: Training, measurement: Measurement) -> None:
        """Write the scalar of a validation."""
        self._writer.add_scalar("valid/bits_per_base", measurement.bits, measurement.step)
        for name, bits in measurement.genomes.items():
            self._writer.add_scalar(f"valid/bits_per_base/{name}", bits, measurement.step)

    def end(self, training: Training) -> None:
        """Close the file."""
        self._writer.close()
