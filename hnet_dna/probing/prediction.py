"""Predictions of a fitted head for new sequences."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sklearn.pipeline import Pipeline

from hnet_dna.embedding.embedder import Embedder
from hnet_dna.embedding.inputs import SequencesLike, count_sequences, read_sequences
from hnet_dna.embedding.write import first_few
from hnet_dna.errors import UsageError
from hnet_dna.inference.load import load_model
from hnet_dna.model.lm import HNetLM
from hnet_dna.probing.head_file import load_head
from hnet_dna.progress import OnProgress, Work, ignore
from hnet_dna.tables import data_frame
from hnet_dna.text import called, watched

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """What a head says of one sequence.

    Attributes:
        id: of the sequence.
        predicted: the class, or the number of a regression.
        scores: probability of each class, in the order of `Predictions.classes`; empty where the head has none.
    """

    id: str
    predicted: Any
    scores: tuple[float, ...] = ()


@dataclass(frozen=True)
class Predictions:
    """Predictions for sequences, made while they are iterated over, once.

    Attributes:
        classes: in the order of the scores; empty for regression, and where the head has no probabilities.
        rows: the predictions.
    """

    classes: tuple[str, ...]
    rows: Iterator[Prediction]

    def __iter__(self) -> Iterator[Prediction]:
        """Yield the prediction of each sequence that has any A, C, G or T, in their order."""
        return self.rows

    def to_pandas(self) -> Any:
        """Return a DataFrame of the predictions that are left: id, predicted, and p_CLASS for each class."""
        rows = list(self.rows)
        columns: dict[str, Any] = {"id": [row.id for row in rows], "predicted": [row.predicted for row in rows]}
        for place, name in enumerate(self.classes):
            columns[f"p_{name}"] = [row.scores[place] for row in rows]
        return data_frame(columns)


def predict(
    sequences: str | Path | SequencesLike,
    head: str | Path,
    *,
    model: str | Path | HNetLM | None = None,
    sequence: str | None = None,
    on_progress: OnProgress = ignore,
) -> Predictions:
    """Apply the head of a probe to new sequences.

    Sequences without any A, C, G or T are left out.

    Args:
        sequences: a FASTA, CSV or TSV file, `-` for stdin, or sequences in memory as `embed` takes them.
        head: folder that `probe` made.
        model: the model that the head was trained on, as `load_model` takes it. Default: from where `probe` read it.
        sequence: column of sequences in a CSV or TSV file, if it has none of the usual names.
        on_progress: called with a `Progress` as the work goes on.

    Returns:
        The predictions, made one by one as they are asked for.

    Raises:
        UsageError: the model is not the one whose vectors the head takes, or the head takes vectors of single chunks.
        CheckpointError: the folder holds no head.

    Example:
        >>> import hnet_dna
        >>> [row.id for row in hnet_dna.predict({"new": "ACGTTGCA"}, "probe")]
        ['new']
    """
    folder = Path(head)
    fitted, about = load_head(folder)
    if about.pooling is None:
        raise UsageError(
            f"{folder} takes vectors of single chunks, and predict makes one vector of each sequence; apply it to such "
            "vectors in Python (docs/embeddings.md), or fit a head on a table with a row per sequence"
        )
    wanted = about.model if model is None else model
    if wanted is None:
        raise UsageError(f"the head in {folder} takes the vectors of a model that was in memory; give it as `model`")
    loaded = load_model(wanted)
    if loaded.digest() != about.model_digest:
        named = "the model given" if isinstance(wanted, HNetLM) else str(wanted)
        raise UsageError(f"{named} is not the model that the head in {folder} takes (digests differ)")
    embedder = Embedder(loaded, about.level, about.pooling, about.strand)
    classes = tuple(map(str, fitted.classes_)) if hasattr(fitted, "predict_proba") else ()
    return Predictions(classes, _predictions(sequences, sequence, embedder, fitted, on_progress))


def _predictions(
    sequences: str | Path | SequencesLike,
    column: str | None,
    embedder: Embedder,
    fitted: Pipeline,
    on_progress: OnProgress,
) -> Iterator[Prediction]:
    source = sequences if isinstance(sequences, str | Path) else ""
    total = count_sequences(sequences, column)
    scored = hasattr(fitted, "predict_proba")
    left_out = 0
    times: Counter[str] = Counter()
    about = called(source) if total is None else ""
    with Work(on_progress, "predicting", total, "sequences", about=about) as work, watched(source, work.read):
        for item in read_sequences(sequences, column):
            times[item.id] += 1
            work.add(1)
            (vector,) = embedder.embed([item.codes])
            if vector is None:
                left_out += 1
                continue
            scores = tuple(fitted.predict_proba(vector[None])[0].tolist()) if scored else ()
            yield Prediction(item.id, fitted.predict(vector[None])[0], scores)
    if left_out:
        _log.info("%s sequences have no A, C, G or T and were left out", f"{left_out:,}")
    if repeated := [name for name, count in times.items() if count > 1]:
        _log.info("%s ids occur more than once: %s", f"{len(repeated):,}", first_few(repeated))
