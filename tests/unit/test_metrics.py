"""Metrics of heads against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from hnet_dna.probing.metrics import measure, of_resamples, of_rows


@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "c"], []])
def test_all_resamples_at_once_are_each_by_scikit_learn(classes: list[str]) -> None:
    random, rows = np.random.default_rng(3), 40
    weights = np.stack([np.bincount(random.integers(0, rows, rows), minlength=rows) for _ in range(6)])
    weights[5] = 0
    weights[5, :2] = rows  # a resample without some of the classes
    target: np.ndarray[Any, Any]
    if classes:
        target, predicted = np.array(classes)[random.integers(0, len(classes), (2, rows))]
        target[:2] = "a"
        scores = random.integers(1, 5, (rows, len(classes))) / 4  # with ties
    else:
        target, scores = np.round(random.normal(size=rows), 1), None
        predicted = np.round(target + random.normal(size=rows), 1)
    task: Any = "classification" if classes else "regression"
    actual = of_resamples(task, target, predicted, scores, classes, weights.astype(float))
    for index, counts in enumerate(weights):
        drawn = np.repeat(np.arange(rows), counts)
        if classes and index == 5:
            assert all(np.isnan(values[index]) for values in actual.values())
            continue
        expected = of_rows(task, target[drawn], predicted[drawn], None if scores is None else scores[drawn], classes)
        assert {name: values[index] for name, values in actual.items()} == pytest.approx(expected)


def test_metrics_are_scikit_learns() -> None:
    random = np.random.default_rng(0)
    target = np.array(["a", "b", "c"] * 40)
    scores = random.random((120, 3))
    predicted = np.array(["a", "b", "c"])[scores.argmax(axis=1)]
    actual = measure("classification", target, predicted, scores, ["a", "b", "c"], np.arange(120))
    assert actual["MCC"].value == pytest.approx(metrics.matthews_corrcoef(target, predicted))
    assert actual["F1"].value == pytest.approx(metrics.f1_score(target, predicted, average="macro"))
    each = [metrics.roc_auc_score(target == name, scores[:, i]) for i, name in enumerate("abc")]
    assert actual["AUROC"].value == pytest.approx(np.mean(each))
    numbers = measure("regression", np.arange(50.0), np.arange(50.0) ** 2, None, [], np.arange(50))
    assert numbers["Spearman"].value == pytest.approx(1.0)
    assert set(numbers) == {"R2", "Spearman"}
