"""Cross-validation of contenders on the same folds, or on one part that was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnet_dna.probing.contenders import Contender, Fitted, Fold, Majority
from hnet_dna.probing.dataset import Labels, Task
from hnet_dna.probing.folds import Folds
from hnet_dna.probing.metrics import Metric, difference, measure

MODEL, UNTRAINED = "model", "untrained model"


@dataclass(frozen=True)
class Result:
    """How well the labels are predicted by one contender.

    Attributes:
        name: of the contender.
        width: features per row, or per base.
        metrics: over all rows that were held out.
        predicted: (N,) predictions, each made while its row was held out; meaningless for rows that never were.
        scores: (N, classes or labels) decision values or probabilities; None for regression.
        chosen: for each fold, the settings and how many `inner_folds` chose them; with 0 of them they are the default.
    """

    name: str
    width: int
    metrics: dict[str, Metric]
    predicted: NDArray[np.generic]
    scores: NDArray[np.float64] | None
    chosen: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, without predictions."""
        metrics = {name: asdict(metric) for name, metric in self.metrics.items()}
        return {"features": self.name, "width": self.width, "metrics": metrics, "chosen": self.chosen}


def cross_validate(
    contenders: Sequence[Contender],
    labels: Labels,
    folds: Folds,
    task: Task,
    seed: int,
    on_step: Callable[[str], None] = lambda what: None,
) -> tuple[list[Result], list[Fitted]]:
    """Predict each held-out row by contenders that have not seen its fold; the majority of all folds comes first.

    Returns:
        The results, and each contender as it was fitted for the last fold, which is the only one of a given split.
    """
    results, last = [], []
    parts = [
        Fold(task, labels.target, folds.group, folds.training(fold), folds.valid, seed, labels.names)
        for fold in range(folds.count)
    ]
    # The commonest class, or the mean, is one for all folds. Each fold's own would lean away from what the fold holds
    # out: over all folds it would say something of a row, by which its MCC would not be 0 nor its AUROC 0.5.
    seen = np.unique(np.concatenate([part.rows for part in parts]))
    all_alike = [replace(part, rows=seen) for part in parts]
    for contender in [Majority(task), *contenders]:
        on_step(contender.name)
        result, fitted = _judge(contender, labels, folds, all_alike if isinstance(contender, Majority) else parts)
        results.append(result)
        last.append(fitted)
    return results, last


def fit_all(contender: Contender, labels: Labels, folds: Folds, task: Task, seed: int) -> Fitted:
    """Fit to all rows, settings chosen by cross-validation over the same groups."""
    rows = np.arange(len(labels.ids))
    return contender.fit(Fold(task, labels.target, folds.group, rows, None, seed, labels.names))


def conclusions(
    results: Sequence[Result], labels: Labels, folds: Folds, task: Task, names: tuple[str, str] = (MODEL, UNTRAINED)
) -> list[str]:
    """Say whether pretraining helped, and whether the best contender without the model is beaten.

    `names` are those of the contender with the model and with an untrained one.
    """
    by_name = {result.name: result for result in results}
    if (model := by_name.get(names[0])) is None:
        return []
    said = []
    if (untrained := by_name.get(names[1])) is not None:
        said.append(_compared(("Pretraining helped", "Pretraining did harm", "Pretraining made no clear difference"),
                              model, untrained, labels, folds, task))  # fmt: skip
    first = next(iter(model.metrics))
    others = [result for result in results if result.name not in names and result.width]
    if others:
        best = max(others, key=lambda result: result.metrics[first].value)
        words = ("The best row without the model is beaten", "The best row without the model is better",
                 "The best row without the model is level with it")  # fmt: skip
        said.append(_compared(words, model, best, labels, folds, task))
    return said


def _compared(words: tuple[str, str, str], one: Result, other: Result, labels: Labels, folds: Folds, task: Task) -> str:
    rows = folds.held_out
    of = [(r.predicted[rows], None if r.scores is None else r.scores[rows]) for r in (one, other)]
    name, gap = difference(task, labels.target[rows], of[0], of[1], labels.classes, folds.group[rows])
    verdict = words[0] if gap.low > 0 else words[1] if gap.high < 0 else words[2]
    return (
        f"{verdict}: {name} {one.metrics[name].value:.3f} against {other.metrics[name].value:.3f} ({other.name}), "
        f"difference {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
    )


def _judge(contender: Contender, labels: Labels, folds: Folds, parts: Sequence[Fold]) -> tuple[Result, Fitted]:
    task = parts[0].task
    classes = labels.classes
    predicted = np.empty_like(labels.target)
    scores = np.zeros((len(labels.ids), len(classes))) if classes else None
    chosen = []
    for number, fold in enumerate(parts):
        test = np.flatnonzero(folds.fold == number)
        fitted = contender.fit(fold)
        predicted[test], known = fitted.predict(test)
        if scores is not None and known is not None:
            scores[test] = _in_order(known, fitted.classes, classes)
        chosen.append(fitted.chosen)
    rows = folds.held_out
    held = None if scores is None else scores[rows]
    metrics = measure(task, labels.target[rows], predicted[rows], held, classes, folds.group[rows])
    return Result(contender.name, contender.width, metrics, predicted, scores, [c for c in chosen if c]), fitted


def _in_order(known: NDArray[np.float64], own: Sequence[str], classes: list[str]) -> NDArray[np.float64]:
    """Return one score per class, in the order of `classes`; a class unseen in training gets the lowest."""
    scores = np.full((len(known), len(classes)), float(known.min()) if known.size else 0.0)
    for column, name in enumerate(own):
        scores[:, classes.index(name)] = known[:, column]
    return scores
