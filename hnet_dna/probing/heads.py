"""The heads: each behind a scaler, with the strengths that nested cross-validation chooses from."""

from __future__ import annotations

from typing import Any

from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC, LinearSVR

from hnet_dna.errors import UsageError, did_you_mean
from hnet_dna.probing.dataset import Task
from hnet_dna.probing.sequence_head import SEQUENCE_HEADS

HEADS = ("logistic", "ridge", "svm", "mlp")


def check_head(name: str, task: Task) -> None:
    """Refuse the name of a head that does not exist, or that does not serve the task."""
    if name not in (known := HEADS + SEQUENCE_HEADS):
        raise UsageError(f"`head` {name!r} does not exist. {did_you_mean(name, known)}")
    if task == "regression" and name == "logistic":
        raise UsageError("`head` logistic tells classes apart; regression takes ridge, svm, mlp, conv or attention")
    if task == "multilabel" and name not in SEQUENCE_HEADS:
        raise UsageError(f"`head` {name} says one class of each row; several labels per row take conv or attention")


def make_head(name: str, task: Task, seed: int) -> tuple[Pipeline, dict[str, list[Any]]]:
    """Return an unfitted pipeline and the grid of its strengths."""
    classify = task == "classification"
    strengths: dict[str, list[Any]]
    if name == "logistic":
        model, strengths = LogisticRegression(max_iter=2000), {"C": [0.001, 0.01, 0.1, 1.0, 10.0]}
    elif name == "ridge":
        model = RidgeClassifier() if classify else Ridge()
        strengths = {"alpha": [0.1, 1.0, 10.0, 100.0, 1000.0]}
    elif name == "svm":
        model = LinearSVC(max_iter=20_000) if classify else LinearSVR(max_iter=20_000)
        strengths = {"C": [0.001, 0.01, 0.1, 1.0]}
    else:
        kind = MLPClassifier if classify else MLPRegressor
        model = kind(hidden_layer_sizes=(64,), max_iter=300, random_state=seed)
        strengths = {"alpha": [1e-4, 1e-2, 1.0]}
    pipeline = Pipeline([("scaler", StandardScaler()), ("head", model)])
    return pipeline, {f"head__{name}": values for name, values in strengths.items()}
