"""Fine-tuning on what is known of each base of a genome: regions of a BED file, or the values of a bigWig."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnet_dna.plural import counted
from hnet_dna.probing.base_targets import BaseTargets
from hnet_dna.probing.baselines import CONVOLUTIONAL
from hnet_dna.probing.contenders import Contender, Fitted, Fold, OnSequences
from hnet_dna.probing.cross_validation import Result
from hnet_dna.probing.dataset import Labels
from hnet_dna.probing.fitting import Rows
from hnet_dna.probing.folds import TRAIN, VALID, Folds
from hnet_dna.probing.inputs import Letters
from hnet_dna.probing.metrics import measure

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Shares:
    """Says the share of each label, or the mean, of all bases trained on."""

    targets: BaseTargets
    width: int = 0

    @property
    def name(self) -> str:
        return "majority class" if self.targets.names else "mean"

    def fit(self, fold: Fold) -> Fitted:
        shares = np.asarray(np.nanmean(self.targets.target[fold.rows], axis=(0, 1), dtype=np.float64))
        return _Constant(shares, self.targets)


@dataclass
class _Constant:
    shares: NDArray[np.float64]
    targets: BaseTargets
    chosen: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()

    def predict(self, rows: Rows) -> tuple[NDArray[np.generic], NDArray[np.float64] | None]:
        scores = np.broadcast_to(self.shares, (len(rows), *self.targets.target.shape[1:]))
        return (scores > 0.5 if self.targets.names else scores[..., 0]), scores


def judge_bases(
    contenders: list[Contender], targets: BaseTargets, seed: int, on_step: Callable[[str], None]
) -> tuple[list[Result], list[Fitted], Labels, Folds]:
    """Fit contenders to the windows trained on, and measure them base by base on those held out.

    Returns:
        The results and the fitted contenders, the share of each label first; the bases that were judged.
    """
    fold = Fold(targets.task, targets.target, np.arange(len(targets.windows)), targets.rows(TRAIN), targets.rows(VALID),
                seed, targets.names)  # fmt: skip
    rows, labels, folds = targets.judged(seed)
    known = np.asarray(~np.isnan(targets.target[rows]).all(axis=2))
    bases, windows = counted(len(labels.ids), "base"), counted(len(rows), "window")
    _log.info("judged: %s of %s; split %s", bases, windows, folds.rule)
    results, fitted = [], []
    for contender in [_Shares(targets), *contenders]:
        on_step(contender.name)
        found = contender.fit(fold)
        predicted, scores = found.predict(rows)
        length = predicted.shape[1]
        own = predicted[known[:, :length]].astype(np.int8 if targets.names else np.float64)
        of_bases = None if scores is None or not targets.names else scores[known[:, :length]]
        metrics = measure(targets.task, labels.target, own, of_bases, labels.classes, folds.group)
        results.append(
            Result(contender.name, contender.width, metrics, own, of_bases, [found.chosen] if found.chosen else [])
        )
        fitted.append(found)
    return results, fitted, labels, folds


def convolutional_network(targets: BaseTargets) -> Contender:
    """Return the baseline that a user would train without a model."""
    return OnSequences(CONVOLUTIONAL, Letters(targets.sequences), "conv")
