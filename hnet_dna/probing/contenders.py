"""What predicts labels, each with all that it needs: heads on a model's vectors, and baselines without a model.

A contender is fitted to some of the rows and predicts others. It chooses its own settings inside the rows that it is
fitted to.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import matthews_corrcoef, r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from hnet_dna.probing.dataset import Task
from hnet_dna.probing.features import SparseCounts
from hnet_dna.probing.fitting import Goal, Rows, Schedule
from hnet_dna.probing.folds import splitter_of, strata
from hnet_dna.probing.heads import make_head
from hnet_dna.probing.inputs import Inputs
from hnet_dna.probing.sequence_head import SequenceHead, fit_sequence_head

_INNER_FOLDS = 3
_NARROW = 600  # columns up to which Newton's method is the faster one for logistic regression
_STRENGTH = 0.01  # of linear heads on k-mers, where k is chosen
_BOOSTED_K = 4  # gradient boosting takes the k-mers chosen, but none longer


@dataclass(frozen=True)
class Fold:
    """The rows that a contender is fitted to.

    Attributes:
        task, target, group: of all rows.
        rows: (M,) those to fit to.
        valid: rows that were given to choose settings by; None where the contender splits `rows` itself.
        seed: decides that split, and all else that is random.
        classes: names of the labels where rows may have several, whose `target` is (N, K).
    """

    task: Task
    target: NDArray[np.generic]
    group: NDArray[np.int64]
    rows: Rows
    valid: Rows | None
    seed: int
    classes: tuple[str, ...] = ()
    _found: dict[int, list[tuple[Rows, Rows]]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def all_rows(self) -> Rows:
        """Those to fit to once the settings are chosen."""
        return self.rows if self.valid is None else np.concatenate([self.rows, self.valid])

    def goal(self, train: Rows, valid: Rows, *, balanced: bool = False) -> Goal:
        """Return what a network that trains on rows learns to say; `balanced` lets all classes count the same."""
        return Goal.of(self.task, self.target[np.concatenate([train, valid])], self.classes, balanced=balanced)

    def of_label(self, place: int) -> Fold:
        """Return the same rows with one of several labels, as classes 0 and 1."""
        target = self.target[:, place].astype(str)
        return Fold("classification", target, self.group, self.rows, self.valid, self.seed)

    def splits(self, most: int = _INNER_FOLDS) -> list[tuple[Rows, Rows]]:
        """Return up to `most` folds (train, valid) of row numbers with two different labels on each side; else none.

        Groups stay together here too.
        """
        if self.valid is not None:
            return [(self.rows, self.valid)]
        if most not in self._found:  # all contenders of a fold ask for the same, and many groups take a while
            self._found[most] = self._split(most)
        return self._found[most]

    def _split(self, most: int) -> list[tuple[Rows, Rows]]:
        target, group = self.target[self.rows], self.group[self.rows]
        most = min(most, len(np.unique(group)))
        if self.task == "classification":
            most = min(most, int(np.unique(target, return_counts=True)[1].max()))
        target = strata(target, most)
        for count in range(most, 1, -1):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # about a class with fewer members than folds
                splits = list(splitter_of(self.task, count, self.seed).split(target, target, group))
            if all(len(np.unique(target[side])) > 1 for split in splits for side in split):
                return [(self.rows[train], self.rows[valid]) for train, valid in splits]
        return []


class Fitted(Protocol):
    """A contender that has been fitted."""

    @property
    def chosen(self) -> dict[str, Any]:
        """The settings that were chosen, and how many `inner_folds` chose them; 0 where they are the default."""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes, in the order of the scores; empty for regression."""
        ...

    def predict(self, rows: Rows) -> tuple[NDArray[np.generic], NDArray[np.float64] | None]:
        """Return the predictions, and the decision values or probabilities (N, classes), None for regression."""
        ...


class Contender(Protocol):
    """What is compared with others on the same folds."""

    @property
    def name(self) -> str:
        """What the table calls it."""
        ...

    @property
    def width(self) -> int:
        """Numbers for each row, or for each base."""
        ...

    def fit(self, fold: Fold) -> Fitted:
        """Fit to rows."""
        ...


@dataclass
class FittedEstimator:
    """An estimator of scikit-learn over a table of features."""

    estimator: Any
    matrix: Any
    chosen: dict[str, Any]

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return list(map(str, getattr(self.estimator, "classes_", ())))

    def predict(self, rows: Rows) -> tuple[NDArray[np.generic], NDArray[np.float64] | None]:
        """Return predictions and scores; see `Fitted`."""
        matrix = self.matrix[rows]
        predicted = self.estimator.predict(matrix)
        if not self.classes:
            return predicted, None
        if hasattr(self.estimator, "predict_proba"):
            return predicted, self.estimator.predict_proba(matrix)
        known = self.estimator.decision_function(matrix)
        return predicted, np.stack([-known, known], axis=1) if known.ndim == 1 else known


@dataclass
class FittedLabels:
    """One contender for each of several labels."""

    by_label: list[Fitted]
    classes: tuple[str, ...]

    @property
    def chosen(self) -> dict[str, Any]:
        """What was chosen for each label."""
        found = {name: each.chosen for name, each in zip(self.classes, self.by_label, strict=True)}
        return {"by_label": found} if any(found.values()) else {}

    def predict(self, rows: Rows) -> tuple[NDArray[np.generic], NDArray[np.float64] | None]:
        """Return which labels each row has, (N, K) of 0 and 1, and their scores; see `Fitted`."""
        said = [each.predict(rows) for each in self.by_label]
        scores = [np.zeros(len(rows)) if known is None else known[:, -1] for _, known in said]
        return np.stack([predicted == "1" for predicted, _ in said], axis=1).astype(np.int8), np.stack(scores, axis=1)


def label_by_label(contender: Contender, fold: Fold) -> FittedLabels:
    """Fit a contender to each of several labels; where the rows have one value of it only, that value is said."""
    fitted = []
    for place in range(len(fold.classes)):
        own = fold.of_label(place)
        constant = len(np.unique(own.target[own.all_rows])) < 2
        fitted.append((Majority("classification") if constant else contender).fit(own))
    return FittedLabels(fitted, fold.classes)


@dataclass(frozen=True)
class Majority:
    """Says the commonest class, or the mean."""

    task: Task
    width: int = 0

    @property
    def name(self) -> str:
        """`majority class` or `mean`."""
        return "mean" if self.task == "regression" else "majority class"

    def fit(self, fold: Fold) -> Fitted:
        """Fit to rows."""
        if fold.task == "multilabel":
            return label_by_label(Majority("classification"), fold)
        model = DummyClassifier() if self.task == "classification" else DummyRegressor()
        matrix = np.zeros((len(fold.target), 1))
        return FittedEstimator(model.fit(matrix[fold.all_rows], fold.target[fold.all_rows]), matrix, {})


@dataclass(frozen=True)
class OnVectors:
    """A head of scikit-learn on one vector (N, D) for each row; nested folds choose its strength."""

    name: str
    matrix: NDArray[np.float32]
    head: str

    @property
    def width(self) -> int:
        """Length of a vector."""
        return int(self.matrix.shape[1])

    def fit(self, fold: Fold) -> Fitted:
        """Fit to rows; the strength is chosen by folds of these, or the default where they allow no folds."""
        if fold.task == "multilabel":
            return label_by_label(self, fold)
        pipeline, grid = make_head(self.head, fold.task, fold.seed)
        rows = fold.all_rows
        splits = fold.splits() if self.width > 1 else []  # one number needs no strength
        target = fold.target[rows]
        if self.head == "logistic" and self.width <= _NARROW and len(np.unique(target)) == 2:
            pipeline.set_params(head__solver="newton-cholesky", head__max_iter=100)
        place = np.empty(len(fold.target), dtype=np.int64)
        place[rows] = np.arange(len(rows))
        with warnings.catch_warnings():
            # Some strengths of a grid do not converge within the iterations given, which shows in their score.
            warnings.simplefilter("ignore", ConvergenceWarning)
            if splits:
                search = GridSearchCV(
                    pipeline,
                    grid,
                    cv=[(place[train], place[valid]) for train, valid in splits],
                    scoring="matthews_corrcoef" if fold.task == "classification" else "r2",
                ).fit(self.matrix[rows], target)
                pipeline, strength = search.best_estimator_, search.best_params_
            else:
                pipeline.fit(self.matrix[rows], target)
                strength = {name: pipeline.get_params()[name] for name in grid}
        chosen = {name.removeprefix("head__"): value for name, value in strength.items()}
        return FittedEstimator(pipeline, self.matrix, chosen | {"inner_folds": len(splits)})


class Kmers:
    """Logistic (or ridge) regression, or gradient boosting, on k-mer frequencies; k is chosen like a strength."""

    def __init__(self, counts: SparseCounts, *, boosting: bool) -> None:
        self._counts, self._boosting = counts, boosting
        self.name = "k-mers, boosting" if boosting else "k-mers, linear"
        self.width = 4 ** max(counts.lengths)

    def fit(self, fold: Fold) -> Fitted:
        """Fit to rows; one inner fold chooses k and the strength, or they are the default where there is none."""
        if fold.task == "multilabel":
            return label_by_label(self, fold)
        splits = fold.splits()[:1]
        k, strength = self._choose(fold, splits[0]) if splits else (4, _STRENGTH)
        chosen: dict[str, Any] = {"k": k, "inner_folds": len(splits)}
        rows = fold.all_rows
        if self._boosting:
            k = chosen["k"] = min(k, _BOOSTED_K)
            kind = HistGradientBoostingClassifier if fold.task == "classification" else HistGradientBoostingRegressor
            estimator: Any = kind(
                max_iter=100, learning_rate=0.1, max_leaf_nodes=10, min_samples_leaf=10, random_state=fold.seed
            )
            matrix: Any = self._counts.of(k).toarray().astype(np.float32)
        else:
            chosen["strength"] = strength
            estimator, matrix = _linear(fold.task, strength), self._counts.of(k)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator.fit(matrix[rows], fold.target[rows])
        return FittedEstimator(estimator, matrix, chosen)

    def _choose(self, fold: Fold, split: tuple[Rows, Rows]) -> tuple[int, float]:
        train, valid = split
        target = fold.target
        measure: Callable[..., float] = matthews_corrcoef if fold.task == "classification" else r2_score
        tried: dict[tuple[int, float], float] = {}

        def best() -> tuple[int, float]:
            return max(tried, key=lambda key: tried[key])

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            for k, strength in [(k, _STRENGTH) for k in self._counts.lengths] + [(0, 1e-4), (0, 1e-3), (0, 1e-1)]:
                k = k or best()[0]  # at last other strengths of the best k
                matrix = self._counts.of(k)
                fitted = _linear(fold.task, strength).fit(matrix[train], target[train])
                tried[k, strength] = measure(target[valid], fitted.predict(matrix[valid]))
        return best()


def _linear(task: Task, strength: float) -> Pipeline:
    model: BaseEstimator = (
        LogisticRegression(C=strength, max_iter=200)
        if task == "classification"
        else Ridge(alpha=1.0 / strength, solver="sparse_cg")
    )
    return make_pipeline(StandardScaler(with_mean=False), clone(model))


@dataclass
class FittedNetwork:
    """A network over inputs."""

    head: SequenceHead
    inputs: Inputs
    chosen: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.head.classes

    def predict(self, rows: Rows) -> tuple[NDArray[np.generic], NDArray[np.float64] | None]:
        """Return predictions and scores; see `Fitted`."""
        scores = self.head.scores(self.inputs, rows)
        return self.head.goal.predicted(scores), scores if self.classes else None


@dataclass(frozen=True)
class OnSequences:
    """A network over vectors in their order; a part of the rows decides when its training ends."""

    name: str
    inputs: Inputs
    head: str
    schedule: Schedule | None = None
    on_rows: Callable[[int], None] = lambda count: None
    networks: int = 1

    @property
    def width(self) -> int:
        """Numbers at each base."""
        return self.inputs.width

    def fit(self, fold: Fold) -> FittedNetwork:
        """Fit to rows."""
        train, valid = stopping_split(fold)
        goal = fold.goal(train, valid)
        head, chosen = fit_sequence_head(
            self.head,
            self.inputs,
            goal,
            fold.target,
            train,
            valid,
            fold.seed,
            self.schedule,
            self.on_rows,
            self.networks,
        )
        return FittedNetwork(head, self.inputs, chosen)


def stopping_split(fold: Fold) -> tuple[Rows, Rows]:
    """Return rows to train on and rows to decide when training ends, a fifth where groups allow; else none of these."""
    splits = fold.splits(5)
    return splits[0] if splits else (fold.rows, fold.rows[:0])
