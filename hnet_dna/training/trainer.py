"""The training loop. It knows no files: what validates, reports and saves are observers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from hnet_dna.config.recipe import Recipe
from hnet_dna.data.batches import Batch
from hnet_dna.errors import StoppedEarly, TrainingError, UsageError
from hnet_dna.model.lm import HNetLM
from hnet_dna.plural import counted
from hnet_dna.training.feed import Feed
from hnet_dna.training.freezing import freeze
from hnet_dna.training.meter import Meter, StepSums
from hnet_dna.training.optim import build_optimizer, schedule, set_learning_rate
from hnet_dna.training.progress import Budget, Measurement, Progress, StepReport
from hnet_dna.training.ranks import Ranks
from hnet_dna.training.signals import stop_requests
from hnet_dna.training.step import Step
from hnet_dna.training.watch import MAX_SKIPS, Trouble, Watch

Restore = Callable[[HNetLM, torch.optim.Optimizer], Progress]


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


def train(
    model: HNetLM,
    feed: Feed,
    recipe: Recipe,
    budget: Budget,
    observers: Sequence[TrainingObserver] = (),
    *,
    ranks: Ranks | None = None,
    restore: Restore | None = None,
) -> Progress:
    """Train a model in place until the budget is used.

    A step reads `recipe.batch` windows of the feed, shared out over the ranks.

    Args:
        model: to train; it ends in evaluation mode.
        feed: gives the batches of this rank.
        recipe: how to train.
        budget: when to stop.
        observers: called in their order.
        ranks: where this process stands among all.
        restore: puts an earlier state into the model and its optimizer and returns how far that had come.

    Raises:
        TrainingError: for a loss that is NaN or infinite, a spike or a collapsed router, unless the recipe says `skip`;
            observers have kept the state before that step.
        StoppedEarly: after SIGTERM or SIGINT; observers have kept the state.
    """
    ranks = ranks or Ranks()
    if recipe.batch % (ranks.size * recipe.accumulate):
        raise UsageError(
            f"train.batch: {counted(recipe.batch, 'window')} cannot be shared by {ranks.size} ranks in "
            f"{recipe.accumulate} "
            f"parts each; choose a multiple of {ranks.size * recipe.accumulate}"
        )
    training = Training(model, feed, recipe, budget, ranks, observers)
    if restore is not None:
        training.restore(restore(model, training.optimizer))
    for observer in observers:
        observer.begin(training)
    training.run()
    for observer in observers:
        observer.end(training)
    model.eval()
    return training.progress


class Training:
    """A model in training.

    Attributes:
        model, optimizer: as they are after the last step.
        recipe, budget, ranks: as given to `train`.
        observers: in their order.
        progress: how far training has come.
    """

    def __init__(
        self,
        model: HNetLM,
        feed: Feed,
        recipe: Recipe,
        budget: Budget,
        ranks: Ranks,
        observers: Sequence[TrainingObserver],
    ) -> None:
        self.model, self.recipe, self.budget, self.ranks, self.observers = model, recipe, budget, ranks, observers
        self._feed, parts = feed, feed.mixture.parts
        freeze(model, recipe.freeze)
        # Before the optimizer, since it may spread the parameters over the ranks.
        lengths = feed.mixture.chunk_lengths
        weights = [part.repeat_weight for part in parts]
        self._step = Step(model, recipe, ranks, weights, lengths.aims if lengths else ())
        self.optimizer = build_optimizer(model, model.config, recipe)
        self.progress = Progress()
        stages = range(model.n_chunking_stages)
        self._genomes = [part.name for part in parts] if feed.mixture.several else []
        self._stages, self._meter = len(stages), Meter(len(stages), self._genomes)
        self._watch = Watch(recipe, [model.config.stage(s).is_learned for s in stages])
        self._rate = 0.0

    def restore(self, progress: Progress) -> None:
        """Go on from a `state`; model and optimizer are those of that time already."""
        self.progress = progress
        if progress.meter:
            self._meter.restore(progress.meter)
        if progress.watch:
            self._watch.restore(progress.watch)

    def state(self) -> Progress:
        """Return progress with all that `restore` needs."""
        return replace(self.progress, meter=self._meter.state(), watch=self._watch.state())

    def spend(self, seconds: float) -> None:
        """Count time that an observer has taken."""
        self.progress = replace(self.progress, seconds=self.progress.seconds + seconds)

    @property
    def share(self) -> float:
        """How much of the budget is used, 0 to 1."""
        return self.budget.share(self.progress)

    def run(self) -> None:
        """Take steps until the budget is used."""
        self.model.train()
        with stop_requests() as request:
            stop = self._agree(request.exit_code)
            while not stop and self.share < 1.0:
                self._take(self.share)
                for observer in self.observers:
                    observer.step(self)
                stop = self._agree(request.exit_code)  # after the observers, whose time may count
                last = self.share >= 1.0
                for observer in self.observers:
                    observer.step_over(self, last)
                if last:  # and what came while they saved
                    stop = self._agree(request.exit_code)
            if stop:
                kept = self._keep()
                where = f"; the state is in {kept}. Go on with `resume`" if kept else ""
                raise StoppedEarly(f"stopped at step {self.progress.step}, as asked{where}", stop)

    def _agree(self, exit_code: int) -> int:
        """Let all ranks, whose clocks differ, have the same time, and stop if one of them has been asked to.

        This is what they exchange in a step beside gradients and the sums of the loss; all else that they decide
        follows from it.
        """
        seconds, stop = self.ranks.agree(self.progress.seconds, exit_code)
        self.progress = replace(self.progress, seconds=seconds)
        return int(stop)

    def _take(self, share: float) -> None:
        """Take a step, or leave it out."""
        began = time.perf_counter()
        batch = self._feed.next(self.progress, share)
        waited = time.perf_counter() - began
        self.optimizer.zero_grad(set_to_none=True)
        sums = StepSums.of(self._step.run(batch).tolist(), self._stages, len(self._genomes))
        trouble, collapses = self._watch.loss(sums.bits, sums.norm), list[Trouble]()
        self._rate = self.recipe.learning_rate * schedule(share, self.recipe)
        if trouble is None:
            set_learning_rate(self.optimizer, self._rate)
            self.optimizer.step()
            rates = [c / max(p, 1) for p, c in zip(sums.positions, sums.chunks, strict=True)]
            collapses = self._watch.taken(sums.bits, rates)
            self._meter.add(sums)
        else:
            self._leave_out(self._describe(trouble, self.progress.step + 1, batch))
        spent = time.perf_counter() - began
        self._meter.spend(spent, waited)
        self.progress = replace(
            self.progress,
            step=self.progress.step + 1,
            seconds=self.progress.seconds + spent,
            position=batch.after,
            window=self.recipe.window_at(share),
        )
        for collapse in collapses:
            message = self._describe(collapse, self.progress.step, batch)
            self._tell(message, self.progress.step)
            if self.recipe.on_trouble == "stop":
                advice = "Raise train.ratio_weights, lower the learning rate, or set model.chunk_cfg.max_chunk"
                self._give_up(message, advice)

    def _describe(self, trouble: Trouble, step: int, batch: Batch[Any]) -> str:
        of = [f"{self._genomes[window.genome]} " if self._genomes else "" for window in batch.windows]
        windows = ", ".join(f"{name}{window.interval}" for name, window in zip(of, batch.windows, strict=True))
        return f"step {step}: {trouble.message} (windows {windows})"

    def _leave_out(self, message: str) -> None:
        if self.recipe.on_trouble == "stop":
            advice = "Lower the learning rate, or go on with `resume` and train.on_trouble=skip in `settings`"
            self._give_up(message, advice)
        if self._watch.skipped():
            self._give_up(message, f"{MAX_SKIPS} steps in a row were left out before it. Lower the learning rate")
        self._tell(f"{message}: left out", self.progress.step + 1)

    def _tell(self, message: str, step: int) -> None:
        for observer in self.observers:
            observer.event(step, message)

    def _give_up(self, message: str, advice: str) -> None:
        kept = self._keep()
        where = f"; the state is kept in {kept} (step {self.progress.step})" if kept else ""
        raise TrainingError(f"{message}{where}. {advice}")

    def _keep(self) -> str:
        return ", ".join(filter(None, [observer.keep(self) for observer in self.observers]))

    def report(self) -> None:
        """Tell observers of the steps since the last report."""
        report = self._meter.report(self.progress, self.share, self._rate)
        for observer in self.observers:
            observer.report(report)
