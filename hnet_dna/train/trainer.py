"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from hnet_dna.data.genome import Genome
from hnet_dna.data.split import Split, training_segments
from hnet_dna.data.stream import Batch, stream
from hnet_dna.data.windows import Position, WindowSampler
from hnet_dna.errors import TrainingError
from hnet_dna.model.likelihood import IGNORED, targets_of
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.sequence.codes import SOFT_MASK
from hnet_dna.train.loss import language_model_loss
from hnet_dna.train.optim import build_optimizer, schedule, set_learning_rate
from hnet_dna.train.recipe import Recipe
from hnet_dna.train.run_folder import Progress, RunFolder

_LOG_EVERY = 10


@dataclass(frozen=True)
class Budget:
    """When to stop: after a number of steps, or after a time; exactly one is given."""

    steps: int | None = None
    seconds: float | None = None

    def share(self, progress: Progress) -> float:
        """Return how much of the budget is used, 0 to 1."""
        if self.steps is not None:
            return min(1.0, progress.step / self.steps) if self.steps else 1.0
        assert self.seconds is not None
        return min(1.0, progress.seconds / self.seconds)


@dataclass(frozen=True)
class StepReport:
    """What the loop tells about the last few steps.

    Attributes:
        progress: step, time and position reached.
        share: how much of the budget is used.
        bits: training bits per base.
        bases_per_chunk: for each chunking stage, positions of that stage per chunk.
        bases_per_second: training speed, reading and optimizer included.
        learning_rate: at base resolution.
        waiting: share of the time spent waiting for data.
    """

    progress: Progress
    share: float
    bits: float
    bases_per_chunk: tuple[float, ...]
    bases_per_second: float
    learning_rate: float
    waiting: float


class _Feed:
    """The batches of a run, in windows as long as the recipe's warm-up says."""

    def __init__(self, genome: Genome, split: Split, recipe: Recipe, progress: Progress, workers: int, pin: bool):
        self._genome, self._recipe = genome, recipe
        self._segments = training_segments(genome, split)
        self._position, self._length = progress.position, progress.window
        self._workers, self._pin = workers, pin
        self._batches: Iterator[Batch] | None = None

    def next(self, share: float) -> Batch:
        """Return the next batch, at a share of the run."""
        length = self._recipe.window_at(share)
        if self._batches is None or length != self._length:
            if self._length not in (0, length):
                # Other windows are another tiling: it begins with an epoch of its own.
                self._position = Position(self._position.epoch + 1)
            self._batches = stream(
                self._genome,
                WindowSampler(self._segments, length, self._recipe.seed),
                self._position,
                self._recipe.batch_of(length),
                workers=self._workers,
                pin=self._pin,
            )
            self._length = length
        batch = next(self._batches)
        self._position = batch.after
        return batch


class _Meter:
    """Sums between two reports, in float64."""

    def __init__(self, stages: int) -> None:
        self.nats, self.bases, self.seconds, self.waiting = 0.0, 0, 0.0, 0.0
        self.positions, self.chunks = [0] * stages, [0] * stages


def train(
    model: HNetLM,
    genome: Genome,
    split: Split,
    recipe: Recipe,
    budget: Budget,
    run: RunFolder,
    *,
    resume: bool = False,
    workers: int = 0,
    on_report: Callable[[StepReport], None] = lambda report: None,
) -> Progress:
    """Train a model in place until the budget is used, and save it in its run folder.

    A step reads `recipe.batch` windows of the training part. Checkpoints are written every
    `recipe.checkpoint_every` seconds and at the end; with `resume`, the loop goes on from the last one. `workers`
    processes read ahead; they change speed, never the windows.

    Raises:
        TrainingError: if the loss stops being a number; the last checkpoint is kept.
    """
    device = next(model.parameters()).device
    letters = alphabet(model.config.alphabet)
    # Codes travel as bytes and become ids on the device.
    id_of_code = torch.from_numpy(letters.encode(np.arange(256, dtype=np.uint8))).to(device)
    optimizer = build_optimizer(model, recipe)
    progress = run.load(model, optimizer) if resume else Progress()
    ratio_targets = [recipe.ratio_target(stage) for stage in range(model.n_chunking_stages)]
    feed = _Feed(genome, split, recipe, progress, workers, pin=device.type == "cuda")
    model.train()
    meter = _Meter(model.n_chunking_stages)
    saved_at = progress.seconds
    while (share := budget.share(progress)) < 1.0:
        began = time.perf_counter()
        batch = feed.next(share)
        waited = time.perf_counter() - began
        batch = batch.to(device)
        targets = targets_of(batch.codes[:, 1:])
        targets[torch.arange(targets.shape[1], device=device) >= batch.lengths[:, None]] = IGNORED
        weights = torch.where((batch.codes[:, 1:] & SOFT_MASK) > 0, recipe.repeat_weight, 1.0)

        output = model(id_of_code[batch.codes[:, :-1].long()].long(), lengths=batch.lengths)
        loss = language_model_loss(output, targets, letters, ratio_targets, recipe.ratio_weight, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        if not bool(torch.isfinite(norm)):
            where = ", ".join(str(window.interval) for window in batch.windows)
            raise TrainingError(
                f"step {progress.step + 1}: the loss or its gradient is not a number (windows {where}); the last "
                f"checkpoint is kept in {run.path}. Resume with a lower learning rate."
            )
        rate = recipe.learning_rate * schedule(share, recipe)
        set_learning_rate(optimizer, rate)
        optimizer.step()

        spent = time.perf_counter() - began
        progress = Progress(progress.step + 1, progress.seconds + spent, batch.after, recipe.window_at(share))
        meter.nats += float(loss.nats)
        meter.bases += int(loss.bases)
        meter.seconds += spent
        meter.waiting += waited
        for stage in range(model.n_chunking_stages):
            meter.positions[stage] += int(loss.positions[stage])
            meter.chunks[stage] += int(loss.chunks[stage])
        done = budget.share(progress) >= 1.0
        if progress.step % _LOG_EVERY == 0 or done:
            report = _report(meter, progress, budget, rate)
            run.log(_record(report))
            on_report(report)
            meter = _Meter(model.n_chunking_stages)
        if done or progress.seconds - saved_at >= recipe.checkpoint_every:
            run.save(model, optimizer, progress)
            saved_at = progress.seconds
    model.eval()
    return progress


def _report(meter: _Meter, progress: Progress, budget: Budget, rate: float) -> StepReport:
    return StepReport(
        progress=progress,
        share=budget.share(progress),
        bits=meter.nats / math.log(2) / max(meter.bases, 1),
        bases_per_chunk=tuple(
            float(np.divide(p, max(c, 1))) for p, c in zip(meter.positions, meter.chunks, strict=True)
        ),
        bases_per_second=meter.bases / meter.seconds,
        learning_rate=rate,
        waiting=meter.waiting / meter.seconds,
    )


def _record(report: StepReport) -> dict[str, object]:
    return {
        "step": report.progress.step,
        "seconds": round(report.progress.seconds, 3),
        "bits_per_base": report.bits,
        "positions_per_chunk": report.bases_per_chunk,
        "bases_per_second": round(report.bases_per_second),
        "learning_rate": report.learning_rate,
        "waiting_for_data": round(report.waiting, 4),
    }
