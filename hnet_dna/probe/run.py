"""Nested cross-validation of one head on several kinds of features, on the same folds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedGroupKFold
from sklearn.pipeline import Pipeline

from hnet_dna.probe.dataset import Labels, Task
from hnet_dna.probe.folds import Folds
from hnet_dna.probe.heads import make_head
from hnet_dna.probe.metrics import Metric, measure

_INNER_FOLDS = 3
MODEL = "model"


@dataclass(frozen=True)
class Result:
    """What one kind of features gives.

    Attributes:
        name: of the features.
        width: numbers per row.
        metrics: over all rows, each predicted by the fold in which it was held out.
        predicted: (N,) predictions.
        scores: (N, classes) decision values or probabilities; None for regression.
        chosen: the strength chosen in each fold.
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
    features: Mapping[str, NDArray[np.float32]],
    labels: Labels,
    folds: Folds,
    task: Task,
    head: str,
    seed: int,
    on_step: Callable[[str], None] = lambda what: None,
) -> list[Result]:
    """Predict every row from features by heads that have not seen its fold; the majority comes first."""
    classes = sorted(set(map(str, labels.target))) if task == "classification" else []
    results = [_majority(labels, folds, task, classes)]
    for name, matrix in features.items():
        on_step(name)
        results.append(_nested(name, matrix, labels, folds, task, head, seed, classes))
    return results


def fit_all(matrix: NDArray[np.float32], labels: Labels, folds: Folds, task: Task, head: str, seed: int) -> Pipeline:
    """Fit the head on all rows, its strength chosen by cross-validation over the same groups."""
    search = _fitted(_search(head, task, seed, labels.target, folds.group), matrix, labels.target, folds.group)
    best: Pipeline = search.best_estimator_
    return best


def hold_out(
    train: NDArray[np.float32],
    target: Sequence[str],
    test: NDArray[np.float32],
    truth: Sequence[str],
    head: str,
    seed: int = 0,
) -> dict[str, Metric]:
    """Fit a classifier on one part, its strength chosen inside it, and measure it on another part."""
    labels, group = np.array(target), np.arange(len(target))
    search = _fitted(_search(head, "classification", seed, labels, group), train, labels, group)
    classes = sorted(set(target) | set(truth))
    scores = _scores(search, test, classes)
    return measure("classification", np.array(truth), search.predict(test), scores, classes, np.arange(len(truth)))


def _nested(
    name: str,
    matrix: NDArray[np.float32],
    labels: Labels,
    folds: Folds,
    task: Task,
    head: str,
    seed: int,
    classes: list[str],
) -> Result:
    predicted = np.empty_like(labels.target)
    scores = np.zeros((len(labels.ids), len(classes))) if task == "classification" else None
    chosen = []
    for fold in range(int(folds.fold.max()) + 1):
        test = folds.fold == fold
        target, group = labels.target[~test], folds.group[~test]
        search = _fitted(_search(head, task, seed, target, group), matrix[~test], target, group)
        predicted[test] = search.predict(matrix[test])
        if scores is not None:
            scores[test] = _scores(search, matrix[test], classes)
        chosen.append({key.removeprefix("head__"): value for key, value in search.best_params_.items()})
    found = measure(task, labels.target, predicted, scores, classes, folds.group)
    return Result(name, matrix.shape[1], found, predicted, scores, chosen)


def _fitted(
    search: GridSearchCV, matrix: NDArray[np.float32], target: NDArray[np.generic], group: NDArray[np.int64]
) -> GridSearchCV:
    with warnings.catch_warnings():
        # Some strengths of a grid do not converge within the iterations given; their score then says so.
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(matrix, target, groups=group)
    return search


def _search(head: str, task: Task, seed: int, target: NDArray[np.generic], group: NDArray[np.int64]) -> GridSearchCV:
    pipeline, grid = make_head(head, task, seed)
    if task == "classification":
        splitter = StratifiedGroupKFold(_INNER_FOLDS, shuffle=True, random_state=seed)
        return GridSearchCV(pipeline, grid, cv=splitter, scoring="matthews_corrcoef")
    return GridSearchCV(pipeline, grid, cv=GroupKFold(min(_INNER_FOLDS, len(np.unique(group)))), scoring="r2")


def _scores(search: GridSearchCV, matrix: NDArray[np.float32], classes: list[str]) -> NDArray[np.float64]:
    """Return one score per class, in the order of `classes`; a class unseen in training gets the lowest."""
    if hasattr(search, "predict_proba"):
        found = search.predict_proba(matrix)
    else:
        found = search.decision_function(matrix)
        if found.ndim == 1:
            found = np.stack([-found, found], axis=1)
    full = np.full((len(matrix), len(classes)), float(found.min()) if found.size else 0.0)
    for column, name in enumerate(search.classes_):
        full[:, classes.index(str(name))] = found[:, column]
    return full


def _majority(labels: Labels, folds: Folds, task: Task, classes: list[str]) -> Result:
    predicted = np.empty_like(labels.target)
    scores = np.zeros((len(labels.ids), len(classes))) if task == "classification" else None
    empty = np.zeros((len(labels.ids), 1))
    for fold in range(int(folds.fold.max()) + 1):
        test = folds.fold == fold
        model = DummyClassifier() if task == "classification" else DummyRegressor()
        model.fit(empty[~test], labels.target[~test])
        predicted[test] = model.predict(empty[test])
    name = "majority class" if task == "classification" else "mean"
    return Result(name, 0, measure(task, labels.target, predicted, scores, classes, folds.group), predicted, scores, [])
