"""Has the loop report every few steps, and writes metrics.jsonl and events.jsonl of a run folder."""

from __future__ import annotations

from hnet_dna.training.gauge import Gauge
from hnet_dna.training.progress import Measurement, StepReport
from hnet_dna.training.run_folder import RunFolder
from hnet_dna.training.trainer import Training, TrainingObserver

_EVERY = 10  # steps


class Reports(TrainingObserver):
    """Has the loop report every few steps, and after the last one."""

    def step_over(self, training: Training, last: bool) -> None:
        """Have it report if it is time."""
        if training.progress.step % _EVERY == 0 or last:
            training.report()


class Metrics(TrainingObserver):
    """Writes a line for each report, each validation and each event."""

    def __init__(self, folder: RunFolder, gauge: Gauge) -> None:
        self._folder, self._gauge = folder, gauge

    def report(self, report: StepReport) -> None:
        """Write the line of a report."""
        self._folder.log(
            {
                "step": report.progress.step,
                "seconds": round(report.progress.seconds, 3),
                "bits_per_base": report.bits,
                **({"bits_per_base_of_genomes": dict(report.genomes)} if report.genomes else {}),
                "positions_per_chunk": report.bases_per_chunk,
                "bases_per_second": round(report.bases_per_second),
                "learning_rate": report.learning_rate,
                "waiting_for_data": round(report.waiting, 4),
                **self._gauge.read(report.bases_per_second, report.bases_per_chunk),
            }
        )

    def measured(self, training: Training, measurement: Measurement) -> None:
        """Write the line of a validation."""
        self._folder.log(
            {
                "step": measurement.step,
                "seconds": round(measurement.seconds, 3),
                "valid_bits_per_base": measurement.bits,
                **_of_genomes(measurement),
                "valid_positions_per_chunk": measurement.positions_per_chunk,
            }
        )

    def event(self, step: int, message: str) -> None:
        """Write the line of an event."""
        self._folder.log_event({"step": step, "event": message})


def _of_genomes(measurement: Measurement) -> dict[str, object]:
    if not measurement.genomes:
        return {}
    return {"valid_mean": measurement.mean, "valid_bits_per_base_of_genomes": dict(measurement.genomes)}
