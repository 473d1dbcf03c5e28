"""Draws one figure per report: curves for classification, a scatter plot for regression."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

from hnet_dna.errors import UsageError
from hnet_dna.files import write_beside
from hnet_dna.probing.cross_validation import Result
from hnet_dna.probing.dataset import Task

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#000000")


def draw(
    path: Path,
    results: Sequence[Result],
    target: NDArray[np.generic],
    rows: NDArray[np.int64],
    task: Task,
    title: str,
) -> None:
    """Draw ROC and precision-recall curves (each class against the rest, pooled), or a scatter plot, of some rows."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise UsageError("drawing needs matplotlib: pip install 'hnet-dna[plot]'") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["text.parse_math"] = False  # a `$` in a name is not a formula
    figure, axes = plt.subplots(1, 2 if task == "classification" else 1, figsize=(9, 4), constrained_layout=True)
    figure.suptitle(title)
    shown = [result for result in results if result.width]
    if task == "classification":
        _curves(axes, shown, target, rows)
    else:
        axes.plot(target[rows], shown[0].predicted[rows], ".", color=_COLOURS[0], markersize=3)
        axes.set_xlabel("label")
        axes.set_ylabel(f"predicted from {shown[0].name}")
    with write_beside(path) as temporary:
        figure.savefig(temporary, dpi=120, format=path.suffix.lstrip(".") or "png")
    plt.close(figure)


def _curves(axes: Any, results: Sequence[Result], target: NDArray[np.generic], rows: NDArray[np.int64]) -> None:
    classes = sorted(set(map(str, target)))
    columns = [1] if len(classes) == 2 else list(range(len(classes)))
    for result, colour in zip(results, _COLOURS, strict=False):
        assert result.scores is not None
        # Each class against the rest, pooled: one curve per kind of features.
        truth = np.concatenate([target[rows] == classes[column] for column in columns])
        score = np.concatenate([result.scores[rows, column] for column in columns])
        false, true, _ = metrics.roc_curve(truth, score)
        precision, recall, _ = metrics.precision_recall_curve(truth, score)
        axes[0].plot(false, true, color=colour, label=result.name, lw=1.4)
        axes[1].plot(recall, precision, color=colour, lw=1.4)
    axes[0].plot([0, 1], [0, 1], ":", color="#555555", lw=0.8)
    axes[0].set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    axes[1].set(xlabel="recall", ylabel="precision", title="precision and recall", ylim=(0, 1.02))
    axes[0].legend(fontsize=8, loc="lower right")
