"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hnet_dna.config.recipe import Recipe
from hnet_dna.data.batches import Batch, stream
from hnet_dna.data.split import Split, training_segments
from hnet_dna.data.windows import Position, WindowSampler
from hnet_dna.errors import StoppedEarly, TrainingError, UsageError
from hnet_dna.evaluation.score import Score
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.pieces import forward_pieces
from hnet_dna.inference.stream import annotate
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval
from hnet_dna.training.gauge import Gauge
from hnet_dna.training.optim import build_optimizer, schedule, set_learning_rate
from hnet_dna.training.ranks import Ranks
from hnet_dna.training.run_folder import Progress, RunFolder
from hnet_dna.training.signals import stop_requests
from hnet_dna.training.step import Step
from hnet_dna.training.watch import MAX_SKIPS, Trouble, Watch

_LOG_EVERY = 10
_SAVING_SHARE = 0.02  # of the time, at most, where checkpoints are due by the clock


@dataclass(frozen=True)
class Budget:
    """When to stop: after a number of steps, or after a time; exactly one is given."""

    steps: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.seconds is None):
            raise UsageError("a run ends after a number of steps or after a time: give one of them")
        limit = self.seconds if self.steps is None else self.steps
        if limit is None or not 0 <= limit < math.inf:
            raise UsageError(f"a run ends after a finite number of steps or time, 0 or more; got {limit}")

    def share(self, progress: Progress) -> float:
        """Return how much of the budget is used, 0 to 1."""
        used, limit = (progress.seconds, self.seconds) if self.steps is None else (progress.step, self.steps)
        return min(1.0, used / limit) if limit else 1.0


@dataclass(frozen=True)
class StepReport:
    """What the loop tells about the last few steps.

    Attributes:
        progress: step, time and position reached.
        share: how much of the budget is used.
        bits: training bits per base.
        bases_per_chunk: for each chunking stage, positions of that stage per chunk.
        bases_per_second: training speed over all ranks, reading and optimizer included.
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
    """The batches of one rank of a run, in windows as long as the recipe's warm-up says."""

    def __init__(
        self, genome: Genome, split: Split, recipe: Recipe, progress: Progress, workers: int, pin: bool, ranks: Ranks
    ):
        self._genome, self._recipe, self._ranks = genome, recipe, ranks
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
                self._recipe.batch_of(length, self._ranks.size * self._recipe.accumulate),
                rank=self._ranks.rank,
                ranks=self._ranks.size,
                workers=self._workers,
                pin=self._pin,
            )
            self._length = length
        batch = next(self._batches)
        self._position = batch.after
        return batch


class _Meter:
    """Sums between two reports, in float64; `restore(state())` goes on as if nothing had happened."""

    def __init__(self, stages: int) -> None:
        self._stages = stages
        self.nats, self.bases, self.seconds, self.waiting = 0.0, 0, 0.0, 0.0
        self.positions, self.chunks = [0] * stages, [0] * stages

    def state(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_stages"}

    def restore(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, list(value) if isinstance(value, list) else value)

    def clear(self) -> None:
        self.restore(_Meter(self._stages).state())


def train(
    model: HNetLM,
    genome: Genome,
    split: Split,
    recipe: Recipe,
    budget: Budget,
    run: RunFolder,
    *,
    ranks: Ranks | None = None,
    resume: bool = False,
    workers: int = 0,
    on_start: Callable[[Progress], None] = lambda progress: None,
    on_report: Callable[[StepReport], None] = lambda report: None,
    on_event: Callable[[str], None] = lambda message: None,
) -> Progress:
    """Train a model in place until the budget is used, and save it in its run folder.

    A step reads `recipe.batch` windows of the training part, shared out over the ranks. Checkpoints are written every
    `recipe.checkpoint_every` seconds, but less often where that would take over a fiftieth of the time, and at the end;
    with `resume`, the loop goes on from the last one. `workers`
    processes read ahead; they change speed, never the windows. `on_start` is called with where the loop begins.

    Raises:
        TrainingError: for a loss that is no number, a spike or a collapsed router, unless the recipe says `skip`; the
            state before that step is saved.
        StoppedEarly: after SIGTERM or SIGINT; the state is saved.
    """
    ranks = ranks or Ranks()
    if recipe.batch % (ranks.size * recipe.accumulate):
        raise UsageError(
            f"train.batch: {recipe.batch} windows cannot be shared by {ranks.size} ranks in {recipe.accumulate} "
            f"parts each; choose a multiple of {ranks.size * recipe.accumulate}"
        )
    step, gauge = Step(model, recipe, ranks), Gauge(model.config, recipe, ranks)
    optimizer = build_optimizer(model, model.config, recipe)
    progress = run.load(model, optimizer, ranks) if resume else Progress()
    on_start(progress)
    stages = range(model.n_chunking_stages)
    meter, watch = _Meter(len(stages)), Watch(recipe, [_is_learned(model, stage) for stage in stages])
    if progress.meter:
        meter.restore(progress.meter)
    if progress.watch:
        watch.restore(progress.watch)
    on_gpu = next(model.parameters()).is_cuda
    feed = _Feed(genome, split, recipe, progress, workers, on_gpu, ranks)
    measured = _beginning(split.valid, recipe.validate_bases)
    board = _board(run, recipe) if ranks.first else None

    def save() -> float:
        """Write a checkpoint; return the seconds that it took."""
        began = time.perf_counter()
        state = replace(progress, meter=meter.state(), watch=watch.state())
        run.save(model, optimizer, state, keep=recipe.keep_checkpoints, ranks=ranks)
        ranks.wait()
        return time.perf_counter() - began

    def describe(trouble: Trouble, step: int, batch: Batch) -> str:
        return f"step {step}: {trouble.message} (windows {', '.join(str(w.interval) for w in batch.windows)})"

    def tell(message: str, step: int) -> None:
        if ranks.first:
            run.log_event({"step": step, "event": message})
            on_event(message)

    def give_up(message: str, advice: str) -> None:
        save()
        raise TrainingError(f"{message}; the state is kept in {run.path} (step {progress.step}). {advice}")

    model.train()
    saved_at, rest = progress.seconds, recipe.checkpoint_every
    with stop_requests() as request:
        while True:
            share, stop = ranks.agree(budget.share(progress), request.exit_code)
            if stop:
                save()
                raise StoppedEarly(
                    f"stopped at step {progress.step}, as asked; the state is in {run.path}. Go on with `resume`",
                    int(stop),
                )
            if share >= 1.0:
                break
            began = time.perf_counter()
            batch = feed.next(share)
            waited = time.perf_counter() - began
            optimizer.zero_grad(set_to_none=True)
            nats, bases, norm, *counts = step.run(batch).tolist()
            positions, chunks = counts[: len(stages)], counts[len(stages) :]
            bits = nats / math.log(2) / max(bases, 1)
            trouble = watch.loss(bits, norm)
            rate = recipe.learning_rate * schedule(share, recipe)
            found: list[Trouble] = []
            if trouble is None:
                set_learning_rate(optimizer, rate)
                optimizer.step()
                found = watch.taken(bits, [c / max(p, 1) for p, c in zip(positions, chunks, strict=True)])
            else:
                message = describe(trouble, progress.step + 1, batch)
                if recipe.on_trouble == "stop":
                    give_up(
                        message,
                        "Lower the learning rate, or go on with `resume` and train.on_trouble=skip in `settings`",
                    )
                if watch.skipped():
                    give_up(message, f"{MAX_SKIPS} steps in a row were left out before it. Lower the learning rate")
                tell(f"{message}: left out", progress.step + 1)

            spent = time.perf_counter() - began
            progress = replace(
                progress,
                step=progress.step + 1,
                seconds=progress.seconds + spent,
                position=batch.after,
                window=recipe.window_at(share),
            )
            if trouble is None:
                meter.nats += nats
                meter.bases += int(bases)
                for stage in stages:
                    meter.positions[stage] += int(positions[stage])
                    meter.chunks[stage] += int(chunks[stage])
            meter.seconds += spent
            meter.waiting += waited
            for collapse in found:
                message = describe(collapse, progress.step, batch)
                tell(message, progress.step)
                if recipe.on_trouble == "stop":
                    give_up(
                        message, "Raise train.ratio_weights, lower the learning rate, or set model.chunk_cfg.max_chunk"
                    )
            due = bool(measured) and recipe.validate_every > 0
            validated = due and progress.step % recipe.validate_every == 0
            if validated:
                progress = _validate(model, genome, measured, progress, run, ranks, board)
            # Asked after the validation, whose time counts, and of all ranks, whose clocks differ.
            done, old = ranks.agree(budget.share(progress) >= 1.0, progress.seconds - saved_at >= rest)
            if done and due and not validated:
                progress = _validate(model, genome, measured, progress, run, ranks, board)
            if progress.step % _LOG_EVERY == 0 or done:
                report = _report(meter, progress, budget, rate)
                if ranks.first:
                    run.log(_record(report) | gauge.read(report.bases_per_second, report.bases_per_chunk))
                    if board:
                        board.add_scalar("train/bits_per_base", report.bits, progress.step)
                        for stage, length in enumerate(report.bases_per_chunk):
                            board.add_scalar(f"train/positions_per_chunk_{stage}", length, progress.step)
                    on_report(report)
                meter.clear()
            if done or old:
                rest = _rest_after(save(), recipe.checkpoint_every)
                saved_at = progress.seconds
    if board:
        board.close()
    model.eval()
    return progress


def _rest_after(saving: float, every: float) -> float:
    """Return the seconds until the next checkpoint; with `every` 0 each step has one, whatever it takes."""
    return max(every, saving / _SAVING_SHARE) if every else 0.0


def _is_learned(model: HNetLM, stage: int) -> bool:
    return model.config.stage(stage).routing in ("cosine", "linear")


def _beginning(intervals: tuple[Interval, ...], bases: int) -> list[Interval]:
    """Return the first so many bases of some intervals."""
    kept = []
    for interval in intervals:
        if bases <= 0:
            break
        kept.append(Interval(interval.contig, interval.start, min(interval.end, interval.start + bases)))
        bases -= len(kept[-1])
    return kept


def _validate(
    model: HNetLM,
    genome: Genome,
    intervals: list[Interval],
    progress: Progress,
    run: RunFolder,
    ranks: Ranks,
    board: Any,
) -> Progress:
    """Measure bits per base on the validation part, log them, and keep the model if it is the best so far."""
    began = time.perf_counter()
    model.eval()
    score = Score()
    for bases in annotate(forward_pieces(genome, intervals), model):
        score += Score.of(bases)
    model.train()
    progress = replace(progress, seconds=progress.seconds + time.perf_counter() - began)
    if ranks.first:
        run.log(
            {
                "step": progress.step,
                "seconds": round(progress.seconds, 3),
                "valid_bits_per_base": score.bits_per_base,
                "valid_positions_per_chunk": score.positions_per_chunk,
            }
        )
        if board:
            board.add_scalar("valid/bits_per_base", score.bits_per_base, progress.step)
    if progress.best is None or score.bits_per_base < progress.best:
        run.save_best(model, {"step": progress.step, "valid_bits_per_base": score.bits_per_base}, ranks)
        progress = replace(progress, best=score.bits_per_base)
    return progress


def _board(run: RunFolder, recipe: Recipe) -> Any:
    if not recipe.tensorboard:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError("train.tensorboard needs TensorBoard: pip install 'hnet-dna[tensorboard]'") from None
    return SummaryWriter(str(run.path / "tensorboard"))


def _report(meter: _Meter, progress: Progress, budget: Budget, rate: float) -> StepReport:
    return StepReport(
        progress=progress,
        share=budget.share(progress),
        bits=meter.nats / math.log(2) / max(meter.bases, 1),
        bases_per_chunk=tuple(
            float(np.divide(p, max(c, 1))) for p, c in zip(meter.positions, meter.chunks, strict=True)
        ),
        bases_per_second=meter.bases / max(meter.seconds, 1e-9),
        learning_rate=rate,
        waiting=meter.waiting / max(meter.seconds, 1e-9),
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
