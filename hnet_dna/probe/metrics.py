"""Metrics with 95 % bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.preprocessing import label_binarize

from hnet_dna.probe.dataset import Task

_RESAMPLES = 300


@dataclass(frozen=True)
class Metric:
    """A value and its interval."""

    value: float
    low: float
    high: float


def measure(
    task: Task,
    target: NDArray[np.generic],
    predicted: NDArray[np.generic],
    scores: NDArray[np.float64] | None,
    classes: list[str],
    group: NDArray[np.int64],
) -> dict[str, Metric]:
    """Compute metrics over all test rows; groups are resampled whole, since their rows are not independent."""
    found = _metrics(task, classes)
    members = [np.flatnonzero(group == name) for name in np.unique(group)]
    random = np.random.default_rng(0)
    samples = [
        np.concatenate([members[i] for i in random.integers(0, len(members), len(members))]) for _ in range(_RESAMPLES)
    ]
    result = {}
    for name, (needs_scores, function) in found.items():
        if needs_scores and scores is None:
            continue
        second = scores if needs_scores else predicted
        assert second is not None
        values = []
        for rows in samples:
            if task == "classification" and len(np.unique(target[rows])) < len(classes):
                continue  # a resample without one of the classes
            values.append(function(target[rows], second[rows]))
        low, high = np.percentile(values, [2.5, 97.5]) if values else (float("nan"), float("nan"))
        result[name] = Metric(float(function(target, second)), float(low), float(high))
    return result


def _metrics(task: Task, classes: list[str]) -> dict[str, tuple[bool, Callable[..., float]]]:
    if task == "regression":
        return {
            "R2": (False, metrics.r2_score),
            "Spearman": (False, _spearman),
        }
    binary = len(classes) == 2

    def f1(target: NDArray[np.generic], predicted: NDArray[np.generic]) -> float:
        if binary:
            return float(metrics.f1_score(target, predicted, pos_label=classes[1], zero_division=0))
        return float(metrics.f1_score(target, predicted, average="macro", zero_division=0))

    def one_against_rest(function: Callable[..., float]) -> Callable[..., float]:
        def mean(target: NDArray[np.generic], scores: NDArray[np.float64]) -> float:
            if binary:
                return float(function(target == classes[1], scores[:, 1]))
            indicator = label_binarize(target, classes=classes)
            return float(np.mean([function(indicator[:, i], scores[:, i]) for i in range(len(classes))]))

        return mean

    return {
        "MCC": (False, metrics.matthews_corrcoef),
        "AUROC": (True, one_against_rest(metrics.roc_auc_score)),
        "AUPRC": (True, one_against_rest(metrics.average_precision_score)),
        "accuracy": (False, metrics.accuracy_score),
        "F1": (False, f1),
    }


def _spearman(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    from scipy.stats import spearmanr

    if len(np.unique(right)) < 2:
        return 0.0
    return float(spearmanr(left, right).statistic)
