"""Metrics with 95 % bootstrap intervals.

A resample is a vector of weights: how often each row is drawn. All resamples are measured at once, by weighted sums.
The value itself is computed by scikit-learn, and tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.preprocessing import label_binarize

from hnet_dna.probing.dataset import Task

_RESAMPLES = 300
_AT_ONCE = 4_000_000  # weights held in memory at once
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """A value and its 95 % bootstrap interval, from `low` to `high`."""

    value: float
    low: float
    high: float


def measure(
    task: Task,
    target: NDArray[np.generic],
    predicted: NDArray[np.generic],
    scores: Floats | None,
    classes: list[str],
    group: NDArray[np.int64],
) -> dict[str, Metric]:
    """Compute metrics over all test rows; groups are resampled whole, since their rows are not independent."""
    values = of_rows(task, target, predicted, scores, classes)
    resampled = _resampled(task, target, predicted, scores, classes, group)
    return {name: _with_interval(value, resampled[name]) for name, value in values.items()}


Said = tuple[NDArray[np.generic], Floats | None]


def difference(
    task: Task, target: NDArray[np.generic], one: Said, other: Said, classes: list[str], group: NDArray[np.int64]
) -> tuple[str, Metric]:
    """Return the name of the first metric, and by how much `one` (predicted, scores) is above `other` on the same rows.

    The interval is of the difference itself: both are measured on the same resamples.
    """
    name, first = next(iter(of_rows(task, target, *one, classes).items()))
    second = of_rows(task, target, *other, classes)[name]
    resampled = [_resampled(task, target, *said, classes, group)[name] for said in (one, other)]
    return name, _with_interval(first - second, resampled[0] - resampled[1])


def _resampled(
    task: Task,
    target: NDArray[np.generic],
    predicted: NDArray[np.generic],
    scores: Floats | None,
    classes: list[str],
    group: NDArray[np.int64],
) -> dict[str, Floats]:
    """Compute each metric on the same resamples for the same groups."""
    _, member = np.unique(group, return_inverse=True)
    groups = int(member.max()) + 1
    random = np.random.default_rng(0)
    drawn = np.stack([np.bincount(random.integers(0, groups, groups), minlength=groups) for _ in range(_RESAMPLES)])
    step = max(1, _AT_ONCE // len(target))
    parts = [
        of_resamples(task, target, predicted, scores, classes, drawn[start : start + step, member].astype(np.float64))
        for start in range(0, _RESAMPLES, step)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _with_interval(value: float, resampled: Floats) -> Metric:
    resampled = resampled[~np.isnan(resampled)]
    low, high = np.percentile(resampled, [2.5, 97.5]) if len(resampled) else (np.nan, np.nan)
    return Metric(value, float(low), float(high))


def of_rows(
    task: Task,
    target: NDArray[np.generic],
    predicted: NDArray[np.generic],
    scores: Floats | None,
    classes: list[str],
) -> dict[str, float]:
    """Compute each metric over all rows, by scikit-learn; of several labels per row, the mean over the labels."""
    if task == "multilabel":
        return _mean_over_labels(partial(of_rows, "classification"), target, predicted, scores)
    if task == "regression":
        return {"R2": float(metrics.r2_score(target, predicted)), "Spearman": _spearman(target, predicted)}
    binary = len(classes) == 2
    average = {"pos_label": classes[1]} if binary else {"average": "macro"}
    values = {"MCC": float(metrics.matthews_corrcoef(target, predicted))}
    if scores is not None:
        sides = _sides(target, scores, classes)
        values["AUROC"] = float(np.mean([metrics.roc_auc_score(truth, score) for truth, score in sides]))
        values["AUPRC"] = float(np.mean([metrics.average_precision_score(truth, score) for truth, score in sides]))
    values["accuracy"] = float(metrics.accuracy_score(target, predicted))
    values["F1"] = float(metrics.f1_score(target, predicted, zero_division=0, **average))
    return values


def of_resamples(
    task: Task,
    target: NDArray[np.generic],
    predicted: NDArray[np.generic],
    scores: Floats | None,
    classes: list[str],
    weights: Floats,
) -> dict[str, Floats]:
    """Compute each metric (R,) for weights (R, rows); NaN for a resample without one of the classes."""
    if task == "multilabel":
        return _mean_over_labels(partial(of_resamples, "classification", weights=weights), target, predicted, scores)
    if task == "regression":
        truth, guess = target.astype(np.float64), predicted.astype(np.float64)
        total = weights.sum(axis=1)
        mean = weights @ truth / total
        spread = weights @ truth**2 - total * mean**2
        with np.errstate(divide="ignore", invalid="ignore"):
            r2 = 1.0 - weights @ (truth - guess) ** 2 / spread
        return {"R2": np.where(spread > 1e-12, r2, np.nan), "Spearman": _rank_correlation(truth, guess, weights)}
    confusion = np.stack(
        [[weights @ ((target == true) & (predicted == said)) for said in classes] for true in classes]
    )  # (true, said, R)
    missing = (confusion.sum(axis=1) == 0).any(axis=0)
    values = {"MCC": _mcc(confusion)}
    if scores is not None:
        sides = [_curves(truth, score, weights) for truth, score in _sides(target, scores, classes)]
        values["AUROC"] = np.mean([auroc for auroc, _ in sides], axis=0)
        values["AUPRC"] = np.mean([auprc for _, auprc in sides], axis=0)
    right = np.einsum("iir->ir", confusion)
    values["accuracy"] = right.sum(axis=0) / confusion.sum(axis=(0, 1))
    either = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1 = 2.0 * right / np.where(either > 0, either, 1.0)
    values["F1"] = f1[1] if len(classes) == 2 else f1.mean(axis=0)
    return {name: np.where(missing, np.nan, value) for name, value in values.items()}


def _mean_over_labels(
    measure_one: Callable[..., dict[str, Any]],
    target: NDArray[np.generic],
    predicted: NDArray[np.generic],
    scores: Floats | None,
) -> dict[str, Any]:
    """Measure each of several labels as classes 0 and 1; labels that all rows have, or none, do not count."""
    found = []
    for place in range(target.shape[1]):
        truth = target[:, place].astype(str)
        if len(np.unique(truth)) == 2:
            score = None if scores is None else np.stack([-scores[:, place], scores[:, place]], axis=1)
            found.append(measure_one(truth, predicted[:, place].astype(str), score, ["0", "1"]))
    return {name: np.mean([each[name] for each in found], axis=0) for name in found[0]}


def _sides(target: NDArray[np.generic], scores: Floats, classes: list[str]) -> list[tuple[NDArray[np.bool_], Floats]]:
    """Return (rows of the class, its scores): of the second of two classes, or of each of more."""
    if len(classes) == 2:
        return [(target == classes[1], scores[:, 1])]
    indicator = label_binarize(target, classes=classes).astype(bool)
    return [(indicator[:, i], scores[:, i]) for i in range(len(classes))]


def _mcc(confusion: Floats) -> Floats:
    """Gorodkin's correlation of K classes, 0 where all rows or all predictions are of one."""
    total, right = confusion.sum(axis=(0, 1)), np.einsum("iir->r", confusion)
    true, said = confusion.sum(axis=1), confusion.sum(axis=0)
    below = (total**2 - (said**2).sum(axis=0)) * (total**2 - (true**2).sum(axis=0))
    above = right * total - (true * said).sum(axis=0)
    result: Floats = np.where(below > 0, above / np.sqrt(np.where(below > 0, below, 1.0)), 0.0)
    return result


def _curves(truth: NDArray[np.bool_], score: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the areas under both curves, (R,) each: receiver operating characteristic, average precision."""
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))  # equal scores are one threshold
    positive = np.cumsum(np.where(truth[order], weights[:, order], 0.0), axis=1)[:, ends]
    negative = np.cumsum(np.where(truth[order], 0.0, weights[:, order]), axis=1)[:, ends]
    steps = np.diff(positive, axis=1, prepend=0.0)
    between = negative - 0.5 * np.diff(negative, axis=1, prepend=0.0)  # ties count half
    with np.errstate(divide="ignore", invalid="ignore"):
        auroc = 1.0 - (steps * between).sum(axis=1) / (positive[:, -1] * negative[:, -1])
        precision = np.nan_to_num(positive / (positive + negative))
        auprc = (steps * precision).sum(axis=1) / positive[:, -1]
    return auroc, auprc


def _rank_correlation(left: Floats, right: Floats, weights: Floats) -> Floats:
    """Spearman's correlation of rows that occur `weights` times, 0 where all values on one side are equal."""
    ranks = [_ranks(values, weights) for values in (left, right)]
    total = weights.sum(axis=1, keepdims=True)
    centred = [rank - (weights * rank).sum(axis=1, keepdims=True) / total for rank in ranks]
    spread = [(weights * rank**2).sum(axis=1) for rank in centred]
    below = np.sqrt(spread[0] * spread[1])
    above = (weights * centred[0] * centred[1]).sum(axis=1)
    result: Floats = np.where(below > 1e-9, above / np.where(below > 1e-9, below, 1.0), 0.0)
    return result


def _ranks(values: Floats, weights: Floats) -> Floats:
    """Return mean ranks (R, rows); equal values share one."""
    _, level = np.unique(values, return_inverse=True)
    order = np.argsort(level, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(level[order]) != 0, True))
    upto = np.cumsum(weights[:, order], axis=1)[:, ends]
    of_level = np.diff(upto, axis=1, prepend=0.0)
    return (upto - 0.5 * of_level)[:, level]


def _spearman(left: NDArray[np.generic], right: NDArray[np.generic]) -> float:
    from scipy.stats import spearmanr

    if len(np.unique(right)) < 2:
        return 0.0
    return float(spearmanr(left, right).statistic)
