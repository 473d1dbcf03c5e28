"""Saves the state of training, and the best model, in a run folder."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from hnet_dna.training.progress import Measurement
from hnet_dna.training.run_folder import RunFolder, Snapshot
from hnet_dna.training.trainer import Training, TrainingObserver

_SAVING_SHARE = 0.02  # of the time, at most, where checkpoints are due by the clock


class Checkpoints(TrainingObserver):
    """Makes a checkpoint every `checkpoint_every` seconds, less often where that takes over a fiftieth of the time.

    Training waits while its state is copied, and goes on while the files are written, by a thread. The state at the end
    is in the folder before training is said to have ended. All ranks have one, since each holds a share of the state; a
    context manager, which leaves nothing half written.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._saved_at, self._rest = 0.0, 0.0
        self._writer = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.shutdown()

    def begin(self, training: Training) -> None:
        """Take the time."""
        self._saved_at, self._rest = training.progress.seconds, training.recipe.checkpoint_every

    def step_over(self, training: Training, last: bool) -> None:
        """Save if it is time, by the clock that all ranks share."""
        if last or training.progress.seconds - self._saved_at >= self._rest:
            began = time.perf_counter()
            self._save(training)
            if last:
                self._finish(training)
            (waited,) = training.ranks.agree(time.perf_counter() - began)
            self._rest = rest_after(waited, training.recipe.checkpoint_every)
            self._saved_at = training.progress.seconds

    def keep(self, training: Training) -> str:
        """Save, and return the folder."""
        self._save(training)
        self._finish(training)
        return str(self._folder.path)

    def _save(self, training: Training) -> None:
        """Copy the state, and write it once what is being written is complete."""
        self._wait()
        snapshot = Snapshot.of(training.model, training.optimizer, training.state())
        if training.ranks.first:
            self._writing = self._writer.submit(self._folder.write, snapshot, keep=training.recipe.keep_checkpoints)

    def _finish(self, training: Training) -> None:
        """Wait until all that was saved is in the folder, on all ranks."""
        self._wait()
        training.ranks.wait()

    def _wait(self) -> None:
        """Wait for the writer, and raise what it raised."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()


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
