"""What a fine-tuned model says of each base of new sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from hnet_dna.embedding.embedder import evaluating
from hnet_dna.embedding.inputs import SequencesLike, count_sequences, read_sequences
from hnet_dna.errors import UsageError
from hnet_dna.model.lm import HNetLM
from hnet_dna.probing.head_file import PER_BASE, About
from hnet_dna.probing.inputs import FrozenVectors
from hnet_dna.probing.prediction import HowToPredict, load_fitted
from hnet_dna.probing.sequence_head import SequenceHead
from hnet_dna.progress import OnProgress, Work, ignore
from hnet_dna.sequence.codes import Codes, is_acgt
from hnet_dna.text import watched

_WINDOWS = 128  # run at once
_LIKELY = 0.5


@dataclass(frozen=True)
class BasePredictions:
    """What is said of the bases of one sequence.

    Attributes:
        id: of the sequence.
        labels: names of the K labels; empty where numbers are predicted.
        values: (L, K) float32 probability of each label, or (L, 1) numbers; NaN at letters other than A, C, G and T.
    """

    id: str
    labels: tuple[str, ...]
    values: NDArray[np.float32]

    def regions(self) -> list[tuple[int, int, str, float]]:
        """Return the stretches where a label is more likely than not: start, end, label, mean probability, by place."""
        found = []
        for column, name in enumerate(self.labels):
            value = self.values[:, column]
            inside = np.concatenate([[False], value > _LIKELY, [False]]).astype(np.int8)
            for start, end in np.flatnonzero(np.diff(inside)).reshape(-1, 2).tolist():
                found.append((start, end, name, float(value[start:end].mean())))
        return sorted(found)


def predict_bases(
    sequences: str | Path | SequencesLike,
    head: str | Path,
    **how: Unpack[HowToPredict],
) -> Iterator[BasePredictions]:
    r"""Apply a model that was fine-tuned on bases to each base of new sequences.

    Long sequences are read in windows as long as those trained on, which overlap by half; what is said of a base comes
    from the middle of a window.

    Args:
        sequences: as for `predict`.
        head: folder that `finetune` made with a `genome`.
        how: `model`, `sequence`, `device`, `precision` and `on_progress`, as for `predict`.

    Raises:
        UsageError: the head says something of whole sequences; `predict` applies such heads.

    Example:
        >>> from pathlib import Path
        >>> import hnet_dna
        >>> lines = [f"c\t{start}\t{start + 9}\tsite\n" for start in range(0, 1600, 40)]
        >>> _ = Path("sites.bed").write_text("".join(lines))
        >>> genome = {"c": "GATTACAGACCTGAGGTCAA" * 80}
        >>> settings = {"split": "0.2", "window": 100, "epochs": 1, "last": 1, "compare": False}
        >>> _ = hnet_dna.finetune("sites.bed", "by-base", genome=genome, **settings)
        >>> [row.values.shape for row in hnet_dna.predict_bases({"new": "ACGTTGCA"}, "by-base")]
        [(8, 1)]
    """
    fitted, about, loaded = load_fitted(head, how.get("model"), how.get("device"), how.get("precision"))
    if about.pooling != PER_BASE or not isinstance(fitted, SequenceHead):
        raise UsageError(f"{head} says something of whole sequences; `predict` applies it")
    return _predictions(sequences, how.get("sequence"), fitted, loaded, about, how.get("on_progress", ignore))


def _predictions(
    sequences: str | Path | SequencesLike,
    column: str | None,
    fitted: SequenceHead,
    model: HNetLM,
    about: About,
    on_progress: OnProgress,
) -> Iterator[BasePredictions]:
    fitted.to(model.embeddings.weight.device)
    source = sequences if isinstance(sequences, str | Path) else ""
    total = count_sequences(sequences, column)
    with evaluating(model), Work(on_progress, "predicting", total, "sequences") as work, watched(source, work.read):
        for item in read_sequences(sequences, column):
            yield BasePredictions(item.id, fitted.classes, _of_sequence(item.codes, fitted, model, about))
            work.add(1)


def _of_sequence(codes: Codes, fitted: SequenceHead, model: HNetLM, about: About) -> NDArray[np.float32]:
    half, quarter = max(about.longest // 2, 1), about.longest // 4
    values = np.full((len(codes), fitted.goal.outputs), np.nan, dtype=np.float32)
    last = max(len(codes) - about.longest, 0)
    starts = sorted({*range(0, last, half), last})
    places = [(start, min(start + about.longest, len(codes))) for start in starts]
    places = [place for place in places if is_acgt(codes[slice(*place)]).any()]
    for first in range(0, len(places), _WINDOWS):
        some = places[first : first + _WINDOWS]
        inputs = FrozenVectors(model, about.level, about.strand, [codes[start:end] for start, end in some])
        for (start, end), scores in zip(some, fitted.scores(inputs), strict=True):
            begin = start if start == 0 else start + quarter  # the window before has said what comes before that
            values[begin:end] = scores[begin - start : end - start]
    values[~is_acgt(codes)] = np.nan
    return values
