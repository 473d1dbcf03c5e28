"""Predictions of a fitted head for new sequences."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from sklearn.pipeline import Pipeline

from hnet_dna.config.recipe import Precision
from hnet_dna.embedding.embedder import Embedder
from hnet_dna.embedding.inputs import SequencesLike, batches, count_sequences, read_sequences
from hnet_dna.embedding.write import first_few
from hnet_dna.errors import UsageError
from hnet_dna.inference.load import load_model
from hnet_dna.model.lm import HNetLM
from hnet_dna.plural import counted
from hnet_dna.probing.dataset import several_as_text
from hnet_dna.probing.head_file import OWN_MODEL, PER_BASE, About, Head, load_head
from hnet_dna.probing.inputs import FrozenVectors
from hnet_dna.probing.sequence_head import SequenceHead
from hnet_dna.progress import OnProgress, Work, ignore
from hnet_dna.sequence.codes import Codes, is_acgt
from hnet_dna.tables import data_frame
from hnet_dna.text import called, watched

_SEQUENCES_AT_ONCE, _BASES_AT_ONCE = 512, 2_000_000
_MUCH_LONGER = 2  # times the longest sequence that a head was trained on
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """What a head says of one sequence.

    Attributes:
        id: of the sequence.
        predicted: the class, the labels joined by `;`, or the number of a regression.
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


class HowToPredict(TypedDict, total=False):
    """What `predict` can be told beside sequences and head; its docstring says what each is."""

    model: str | Path | HNetLM | None
    sequence: str | None
    device: str | None
    precision: Precision | None
    on_progress: OnProgress


def predict(
    sequences: str | Path | SequencesLike,
    head: str | Path,
    *,
    model: str | Path | HNetLM | None = None,
    sequence: str | None = None,
    device: str | None = None,
    precision: Precision | None = None,
    on_progress: OnProgress = ignore,
) -> Predictions:
    """Apply the head of a probe, or a fine-tuned model, to new sequences.

    Sequences without any A, C, G or T are left out.

    Args:
        sequences: a FASTA, CSV or TSV file, `-` for stdin, or sequences in memory as `embed` takes them.
        head: folder that `probe` or `finetune` made.
        model: the model whose vectors the head takes, as `load_model` takes it. Default: from where it was read then.
        sequence: column of sequences in a CSV or TSV file, if it has none of the usual names.
        device, precision: where and how the model runs, as for `load_model`.
        on_progress: called with a `Progress` as the work goes on.

    Returns:
        The predictions, made as they are asked for, some hundred at a time.

    Raises:
        UsageError: the model is not the one whose vectors the head takes, or the head takes vectors of single chunks.
        CheckpointError: the folder holds no head.

    Example:
        >>> import hnet_dna
        >>> [row.id for row in hnet_dna.predict({"new": "ACGTTGCA"}, "probe")]
        ['new']
    """
    folder = Path(head)
    fitted, about, loaded = load_fitted(folder, model, device, precision)
    if about.pooling == PER_BASE:
        raise UsageError(f"{folder} says something of each base; `predict_bases` applies it")
    if about.pooling is None:
        raise UsageError(
            f"{folder} takes vectors of single chunks, and predict makes one vector of each sequence; apply it to such "
            "vectors in Python (docs/embeddings.md), or fit a head on a table with a row per sequence"
        )
    apply = _in_order(fitted, loaded, about) if isinstance(fitted, SequenceHead) else _pooled(fitted, loaded, about)
    if isinstance(fitted, SequenceHead):
        classes = fitted.classes
    else:
        classes = tuple(map(str, fitted.classes_)) if hasattr(fitted, "predict_proba") else ()
    return Predictions(classes, _predictions(sequences, sequence, apply, about.longest, on_progress))


def load_fitted(
    head: str | Path, model: str | Path | HNetLM | None, device: str | None, precision: Precision | None
) -> tuple[Head, About, HNetLM]:
    """Return the head in a folder, what it takes, and the model that it takes vectors of.

    Raises:
        UsageError: the model is another one, or is not known.
    """
    folder = Path(head)
    fitted, about = load_head(folder)
    own = folder if about.model == OWN_MODEL else about.model
    wanted = own if model is None else model
    if wanted is None:
        raise UsageError(f"the head in {folder} takes the vectors of a model that was in memory; give it as `model`")
    loaded = load_model(wanted, device=device, precision=precision)
    if loaded.digest() != about.model_digest:
        named = "the model given" if isinstance(wanted, HNetLM) else str(wanted)
        raise UsageError(f"{named} is not the model that the head in {folder} takes (digests differ)")
    return fitted, about, loaded


_Apply = Callable[[list[Codes]], list[tuple[Any, tuple[float, ...]] | None]]


def _pooled(fitted: Pipeline, model: HNetLM, about: About) -> _Apply:
    """Return what predicts from one vector of each sequence."""
    embedder = Embedder(model, about.level, about.pooling or "", about.strand)
    scored = hasattr(fitted, "predict_proba")

    def apply(sequences: list[Codes]) -> list[tuple[Any, tuple[float, ...]] | None]:
        vectors = embedder.embed(sequences)
        known = [index for index, vector in enumerate(vectors) if vector is not None]
        said: list[tuple[Any, tuple[float, ...]] | None] = [None] * len(sequences)
        if known:
            matrix = np.stack([vector for vector in vectors if vector is not None])
            scores = fitted.predict_proba(matrix).tolist() if scored else [()] * len(known)
            for index, predicted, score in zip(known, fitted.predict(matrix), scores, strict=True):
                said[index] = (predicted, tuple(score))
        return said

    return apply


def _in_order(fitted: SequenceHead, model: HNetLM, about: About) -> _Apply:
    """Return what predicts from all vectors of each sequence."""
    fitted.to(model.embeddings.weight.device)

    def apply(sequences: list[Codes]) -> list[tuple[Any, tuple[float, ...]] | None]:
        known = [index for index, codes in enumerate(sequences) if is_acgt(codes).any()]
        said: list[tuple[Any, tuple[float, ...]] | None] = [None] * len(sequences)
        if known:
            inputs = FrozenVectors(model, about.level, about.strand, [sequences[index] for index in known])
            scores = fitted.scores(inputs)
            predicted_all = fitted.goal.predicted(scores)
            if fitted.goal.task == "multilabel":
                predicted_all = np.array(several_as_text(predicted_all, fitted.classes))
            for index, predicted, score in zip(known, predicted_all, scores.tolist(), strict=True):
                said[index] = (predicted, tuple(score) if fitted.classes else ())
        return said

    return apply


def _predictions(
    sequences: str | Path | SequencesLike, column: str | None, apply: _Apply, longest: int, on_progress: OnProgress
) -> Iterator[Prediction]:
    source = sequences if isinstance(sequences, str | Path) else ""
    total = count_sequences(sequences, column)
    left_out, warned = 0, False
    times: Counter[str] = Counter()
    about = called(source) if total is None else ""
    with Work(on_progress, "predicting", total, "sequences", about=about) as work, watched(source, work.read):
        # At first few, so that those that come slowly through a pipe are answered soon.
        for batch in batches(read_sequences(sequences, column), _SEQUENCES_AT_ONCE, _BASES_AT_ONCE, first=1):
            times.update(item.id for item in batch)
            longer = [] if warned or not longest else [i for i in batch if len(i.codes) > _MUCH_LONGER * longest]
            if longer:  # said before they are read, which may take long
                warned = True
                _log.warning(
                    "%s has %s, and the longest sequence that the head was trained on %s: of sequences more than %s "
                    "times as long, predictions mean little; cut them into pieces of about that length",
                    longer[0].id, counted(len(longer[0].codes), "base"), f"{longest:,}", _MUCH_LONGER,
                )  # fmt: skip
            for item, said in zip(batch, apply([item.codes for item in batch]), strict=True):
                if said is None:
                    left_out += 1
                else:
                    yield Prediction(item.id, *said)
            work.add(len(batch))
    if left_out:
        _log.info("%s without any A, C, G or T left out", counted(left_out, "sequence"))
    if repeated := [name for name, count in times.items() if count > 1]:
        _log.info("%s given more than once: %s", counted(len(repeated), "id"), first_few(repeated))
