"""Training of networks: early stopping on a part that is set aside, the same result for the same seed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hnet_dna.probing.dataset import Task
from hnet_dna.probing.inputs import by_length

_STEPS = 700  # optimizer steps at least, where the rows are few
_BASES_AT_ONCE = 1 << 18  # of a batch that is predicted, with padding
_BUCKET = 16  # batches whose rows are sorted by length together
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Goal:
    """What a network learns to say.

    Attributes:
        task: `classification` or `regression`.
        classes: names, sorted; empty for regression.
        centre, spread: mean and standard deviation of the numbers trained on.
        weights: of each class in the loss; None where all rows count the same.
    """

    task: Task
    classes: tuple[str, ...] = ()
    centre: float = 0.0
    spread: float = 1.0
    weights: tuple[float, ...] | None = None

    @classmethod
    def of(cls, task: Task, target: NDArray[np.generic], *, balanced: bool = False) -> Goal:
        """Return the goal that the labels of training rows set; `balanced` lets all classes count the same."""
        if task == "regression":
            values = target.astype(np.float64)
            return cls(task, (), float(values.mean()), float(values.std()) or 1.0)
        names, counts = np.unique(target.astype(str), return_counts=True)
        weights = tuple((len(target) / (len(names) * counts)).tolist()) if balanced else None
        return cls(task, tuple(names.tolist()), weights=weights)

    @property
    def outputs(self) -> int:
        """Numbers that the network puts out."""
        return len(self.classes) or 1

    def encode(self, target: NDArray[np.generic]) -> Tensor:
        """Return the labels as `loss` takes them; a class that training rows lack is -1, and has no loss."""
        if self.task == "regression":
            return torch.from_numpy((target.astype(np.float64) - self.centre) / self.spread).float()
        place = {name: index for index, name in enumerate(self.classes)}
        return torch.tensor([place.get(name, -1) for name in target.astype(str).tolist()])

    def loss(self, logits: Tensor, encoded: Tensor) -> Tensor:
        """Return the mean loss of a batch."""
        if self.task == "regression":
            return F.mse_loss(logits[:, 0], encoded)
        weights = None if self.weights is None else torch.tensor(self.weights, device=logits.device)
        return F.cross_entropy(logits, encoded, weights, ignore_index=-1)

    def scores(self, logits: Tensor) -> NDArray[np.float64]:
        """Return the probabilities (N, classes), or the numbers (N, 1) of a regression."""
        logits = logits.double()
        if self.task == "regression":
            numbers: NDArray[np.float64] = (logits * self.spread + self.centre).numpy()
            return numbers
        probabilities: NDArray[np.float64] = logits.softmax(-1).numpy()
        return probabilities

    def predicted(self, scores: NDArray[np.float64]) -> NDArray[np.generic]:
        """Return the classes or numbers that scores mean."""
        return scores[:, 0] if self.task == "regression" else np.array(self.classes)[scores.argmax(axis=1)]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a network is trained.

    Attributes:
        epochs: the most epochs.
        patience: epochs without a better validation loss, after which training ends.
        batch: rows of a batch.
        rate: highest learning rate.
        decay: of weights.
    """

    epochs: int = 12
    patience: int = 4
    batch: int = 64
    rate: float = 2e-3
    decay: float = 0.01

    @classmethod
    def for_rows(cls, count: int) -> Schedule:
        """Return the usual schedule for this many rows: few rows are seen more often, in smaller batches."""
        batch = 64 if count > 2_000 else 32
        epochs = min(max(_STEPS * batch // max(count, 1), 10), 50)
        return cls(epochs=epochs, patience=max(3, epochs // 4), batch=batch)


class Trained(Protocol):
    """What is trained: a module whose call takes rows and gives logits."""

    @property
    def module(self) -> nn.Module: ...  # noqa: D102

    @property
    def lengths(self) -> NDArray[np.int64]: ...  # noqa: D102

    @property
    def symmetric(self) -> bool: ...  # noqa: D102

    def logits(self, rows: Rows, *, turned: bool) -> Tensor: ...  # noqa: D102

    def groups(self) -> list[dict[str, Any]]: ...  # noqa: D102


@dataclass
class Training:
    """A training that can be continued, epoch by epoch.

    Attributes:
        goal, target: what is learned, and the labels of all rows.
        train, valid: rows trained on, and rows whose loss decides when to stop; without any, all epochs are run.
        seed: decides the order of rows and what is left out.
        epoch: epochs done.
        best: the lowest validation loss (training loss without valid rows), and the epoch that had it, from 1.
        weights: of that epoch.
    """

    what: Trained
    goal: Goal
    target: NDArray[np.generic]
    train: Rows
    valid: Rows
    schedule: Schedule
    seed: int
    epoch: int = 0
    best: tuple[float, int] = (math.inf, 0)
    weights: dict[str, Tensor] = field(default_factory=dict)
    optimizer: torch.optim.Optimizer = field(init=False)
    _encoded: Tensor = field(init=False)

    def __post_init__(self) -> None:
        groups = [{"factor": 1.0} | group for group in self.what.groups()]
        self.optimizer = torch.optim.AdamW(groups, lr=self.schedule.rate, weight_decay=self.schedule.decay)
        self._encoded = self.goal.encode(self.target)

    @property
    def finished(self) -> bool:
        """Whether the epochs are used up, or patience is."""
        waited = self.epoch - self.best[1]
        return self.epoch >= self.schedule.epochs or (len(self.valid) > 0 and waited >= self.schedule.patience)

    def run(self, epochs: int | None = None, on_rows: Callable[[int], None] = lambda count: None) -> None:
        """Train until it is finished, or for `epochs` epochs; the weights of the best epoch are kept in `weights`."""
        left = self.schedule.epochs if epochs is None else epochs
        devices = list(range(torch.cuda.device_count()))
        with torch.random.fork_rng(devices=devices):
            while left and not self.finished:
                torch.manual_seed(self.seed * 1_000_003 + self.epoch)
                loss = self._run_epoch(on_rows)
                self.epoch += 1
                if len(self.valid):
                    logits = predict(self.what, self.valid)
                    loss = float(self.goal.loss(logits, self._encoded[self.valid]))
                if loss < self.best[0] or not self.weights or not len(self.valid):
                    self.best = (loss, self.epoch)
                    self.weights = copy.deepcopy(self.what.module.state_dict())
                left -= 1

    def state_dict(self) -> dict[str, Any]:
        """Return all that `load_state_dict` needs to go on exactly from here."""
        return {
            "epoch": self.epoch,
            "best": self.best,
            "weights": copy.deepcopy(self.weights),
            "module": copy.deepcopy(self.what.module.state_dict()),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where another training of the same settings stood."""
        self.epoch, self.best, self.weights = state["epoch"], tuple(state["best"]), dict(state["weights"])
        self.what.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])

    def use_best(self) -> None:
        """Give the module the weights of the best epoch."""
        self.what.module.load_state_dict(self.weights)

    def _run_epoch(self, on_rows: Callable[[int], None]) -> float:
        dice = np.random.default_rng((self.seed, self.epoch))
        batches = list(_shuffled(self.train, self.what.lengths, self.schedule.batch, dice))
        total = 0.0
        self.what.module.train()
        for number, rows in enumerate(batches):
            self._set_rate((self.epoch + (number + 1) / len(batches)) / self.schedule.epochs)
            logits = self.what.logits(rows, turned=self.what.symmetric and bool(dice.integers(2)))
            loss = self.goal.loss(logits, self._encoded[rows].to(logits.device))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            self.optimizer.step()
            total += float(loss.detach()) * len(rows)
            on_rows(len(rows))
        self.what.module.eval()
        return total / max(len(self.train), 1)

    def _set_rate(self, done: float) -> None:
        """Rise over the first tenth of the epochs, then fall as a cosine."""
        factor = done / 0.1 if done < 0.1 else 0.5 * (1.0 + math.cos(math.pi * (done - 0.1) / 0.9))
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate * group["factor"] * max(factor, 0.01)


def predict(what: Trained, rows: Rows, at_once: int = 256) -> Tensor:
    """Return logits (N, outputs) of rows, on the CPU; those of a symmetric network are means over both strands."""
    what.module.eval()
    logits = torch.empty(0)
    with torch.inference_mode():
        for part in by_length(what.lengths[rows], _BASES_AT_ONCE, at_once):
            batch = what.logits(rows[part], turned=False)
            if what.symmetric:
                batch = (batch + what.logits(rows[part], turned=True)) / 2
            if not len(logits):
                logits = torch.empty(len(rows), batch.shape[1])
            logits[torch.from_numpy(part)] = batch.float().cpu()
    return logits


def _shuffled(rows: Rows, lengths: NDArray[np.int64], batch: int, dice: np.random.Generator) -> Iterator[Rows]:
    """Yield batches of rows of like length, in a random order."""
    order = dice.permutation(rows)
    batches = []
    for start in range(0, len(order), batch * _BUCKET):
        bucket = order[start : start + batch * _BUCKET]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        batches += [bucket[first : first + batch] for first in range(0, len(bucket), batch)]
    yield from (batches[index] for index in dice.permutation(len(batches)))
