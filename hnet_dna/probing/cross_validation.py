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
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from hnet_dna.probing.dataset import Labels, Task
from hnet_dna.probing.folds import Folds, splitter_of
from hnet_dna.probing.heads import make_head
from hnet_dna.probing.metrics import Metric, measure

_INNER_FOLDS = 3
MODEL = "model"


@dataclass(frozen=True)
class Result:
    """How well the labels are predicted from one kind of features.

    Attributes:
        name: of the features.
        width: features per row.
        metrics: over all rows, each predicted while its fold was held out.
        predicted: (N,) predictions.
        scores: (N, classes) decision values or probabilities; None for regression.
        chosen: for each fold, the strength and how many `inner_folds` chose it; with 0 of them it is the default.
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
    """Predict each row from each kind of features by a head that has not seen its fold; the majority comes first."""
    classes = sorted(set(map(str, labels.target))) if task == "classification" else []
    results = [_majority(labels, folds, task, classes)]
    for name, matrix in features.items():
        on_step(name)
        results.append(_nested(name, matrix, labels, folds, task, head, seed, classes))
    return results


def fit_all(
    matrix: NDArray[np.float32], labels: Labels, folds: Folds, task: Task, head: str, seed: int
) -> tuple[Pipeline, dict[str, Any]]:
    """Fit the head on all rows, its strength chosen by cross-validation over the same groups; return both."""
    return _fit(head, task, seed, matrix, labels.target, folds.group)


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
    fitted, _ = _fit(head, "classification", seed, train, labels, group)
    classes = sorted(set(target) | set(truth))
    scores = _scores(fitted, test, classes)
    return measure("classification", np.array(truth), fitted.predict(test), scores, classes, np.arange(len(truth)))


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
    for fold in range(folds.count):
        test = folds.fold == fold
        fitted, strength = _fit(head, task, seed, matrix[~test], labels.target[~test], folds.group[~test])
        predicted[test] = fitted.predict(matrix[test])
        if scores is not None:
            scores[test] = _scores(fitted, matrix[test], classes)
        chosen.append(strength)
    metrics = measure(task, labels.target, predicted, scores, classes, folds.group)
    return Result(name, matrix.shape[1], metrics, predicted, scores, chosen)


def _fit(
    head: str,
    task: Task,
    seed: int,
    matrix: NDArray[np.float32],
    target: NDArray[np.generic],
    group: NDArray[np.int64],
) -> tuple[Pipeline, dict[str, Any]]:
    """Return a fitted head; its strength is chosen by folds of these rows, or the default where they allow no folds."""
    pipeline, grid = make_head(head, task, seed)
    splits = _inner_splits(task, seed, target, group)
    with warnings.catch_warnings():
        # Some strengths of a grid do not converge within the iterations given, which shows in their score.
        warnings.simplefilter("ignore", ConvergenceWarning)
        if splits:
            scoring = "matthews_corrcoef" if task == "classification" else "r2"
            search = GridSearchCV(pipeline, grid, cv=splits, scoring=scoring).fit(matrix, target)
            pipeline, strength = search.best_estimator_, search.best_params_
        else:
            pipeline.fit(matrix, target)
            strength = {name: pipeline.get_params()[name] for name in grid}
    return pipeline, {name.removeprefix("head__"): value for name, value in strength.items()} | {
        "inner_folds": len(splits)
    }


def _inner_splits(
    task: Task, seed: int, target: NDArray[np.generic], group: NDArray[np.int64]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return three folds, else two, with at least two different labels on each side; else none.

    Groups stay together here too.
    """
    most = min(_INNER_FOLDS, len(np.unique(group)))
    if task == "classification":
        most = min(most, int(np.unique(target, return_counts=True)[1].max()))
    for count in range(most, 1, -1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about a class with fewer members than folds
            splits = list(splitter_of(task, count, seed).split(target, target, group))
        if all(len(np.unique(target[side])) > 1 for split in splits for side in split):
            return splits
    return []


def _scores(fitted: Pipeline, matrix: NDArray[np.float32], classes: list[str]) -> NDArray[np.float64]:
    """Return one score per class, in the order of `classes`; a class unseen in training gets the lowest."""
    if hasattr(fitted, "predict_proba"):
        known = fitted.predict_proba(matrix)
    else:
        known = fitted.decision_function(matrix)
        if known.ndim == 1:
            known = np.stack([-known, known], axis=1)
    scores = np.full((len(matrix), len(classes)), float(known.min()) if known.size else 0.0)
    for column, name in enumerate(fitted.classes_):
        scores[:, classes.index(str(name))] = known[:, column]
    return scores


def _majority(labels: Labels, folds: Folds, task: Task, classes: list[str]) -> Result:
    predicted = np.empty_like(labels.target)
    scores = np.zeros((len(labels.ids), len(classes))) if task == "classification" else None
    empty = np.zeros((len(labels.ids), 1))
    for fold in range(folds.count):
        test = folds.fold == fold
        model = DummyClassifier() if task == "classification" else DummyRegressor()
        model.fit(empty[~test], labels.target[~test])
        predicted[test] = model.predict(empty[test])
    name = "majority class" if task == "classification" else "mean"
    return Result(name, 0, measure(task, labels.target, predicted, scores, classes, folds.group), predicted, scores, [])
