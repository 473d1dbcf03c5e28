"""The life of a probe: labels, vectors and folds, cross-validation beside baselines, and the folder of the head."""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from hnet_dna.embedding.embedder import Embedder
from hnet_dna.embedding.inputs import recognise
from hnet_dna.embedding.models import open_model
from hnet_dna.embedding.table import Table, read_table
from hnet_dna.embedding.write import open_with_progress
from hnet_dna.errors import CheckpointError, ConfigError, SequenceError, UsageError
from hnet_dna.files import folder_beside, refuse_filled
from hnet_dna.genome.open import GenomeLike
from hnet_dna.inference.load import load_model
from hnet_dna.model.lm import HNetLM
from hnet_dna.pretrained.builtin import DEFAULT_MODEL
from hnet_dna.pretrained.folder import read_config
from hnet_dna.probing import features
from hnet_dna.probing.cross_validation import MODEL, Result, cross_validate, fit_all
from hnet_dna.probing.dataset import Labels, Task, labels_of_chunks, match, read_labels, sequences_of
from hnet_dna.probing.folds import Folds, make_folds
from hnet_dna.probing.head_file import About, save_head
from hnet_dna.probing.heads import make_head
from hnet_dna.progress import OnProgress, Work, ignore
from hnet_dna.sequence.codes import Codes, from_text, n_known, to_text
from hnet_dna.tables import data_frame
from hnet_dna.text import Source

_CLASSES_SHOWN = 12
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProbeResult:
    """What a probe gives.

    Attributes:
        out: the folder that holds the fitted head, the predictions and the report.
        task: `classification` or `regression`.
        head: name of the head.
        labels: the labelled rows.
        folds: the fold in which each row was held out.
        results: for each kind of features, the majority class (or mean) first, the metrics on these folds.
        about: the vectors that the saved head takes; see `About`.
        chosen: strength of the saved head, and how many `inner_folds` chose it.
    """

    out: Path
    task: Task
    head: str
    labels: Labels
    folds: Folds
    results: tuple[Result, ...]
    about: About
    chosen: dict[str, Any]

    @property
    def title(self) -> str:
        """The labels, the head and the folds, in words."""
        return f"{self.labels.path.name}: {self.head} head, {self.folds.count} folds {self.folds.rule}"

    def to_pandas(self) -> Any:
        """Return a DataFrame with a row per kind of features and metric: features, metric, value, low, high."""
        rows = [
            (result.name, name, metric.value, metric.low, metric.high)
            for result in self.results
            for name, metric in result.metrics.items()
        ]
        names = ("features", "metric", "value", "low", "high")
        return data_frame(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))

    def predictions_to_pandas(self) -> Any:
        """Return a DataFrame with a row per label, predicted while its fold was held out.

        Its columns are id, fold (from 0), label and predicted.
        """
        predicted = _of_model(self.results).predicted
        columns = {"fold": self.folds.fold, "label": self.labels.target, "predicted": predicted}
        return data_frame({"id": self.labels.ids} | columns)


@dataclass(frozen=True)
class _Vectors:
    """The vectors of the labelled rows, (N, D), what made them, and the model, if it has been loaded."""

    matrix: NDArray[np.float32]
    about: About
    model: HNetLM | None


def probe(
    labels: str | Path,
    out: str | Path,
    *,
    embeddings: str | Path | None = None,
    model: str | Path | HNetLM | None = None,
    genome: GenomeLike | None = None,
    task: str = "classification",
    head: str | None = None,
    level: str = "chunk",
    pooling: str = "mean",
    strand: str = "both",
    folds: int = 5,
    label: str | None = None,
    id_column: str | None = None,
    sequence: str | None = None,
    group: str | None = None,
    seed: int = 0,
    plot: bool = False,
    on_progress: OnProgress = ignore,
) -> ProbeResult:
    r"""Train a head on frozen vectors, and judge it by nested cross-validation beside baselines on the same folds.

    Folds keep groups together: those of a column of groups or contigs, else families of similar sequences.

    Args:
        labels: CSV or TSV file with a header, or `-` for stdin. A BED file labels each row of `embeddings` by whether
            the middle of its place lies in a region.
        out: folder to create, with the fitted head (head.skops, head.json), predictions.tsv and report.json.
        embeddings: table that `embed_to_table` made, joined to the labels by id. Without it, the sequences in `labels`
            are embedded.
        model: anything that `load_model` takes; the built-in model where there are no `embeddings` either.
        genome: with `embeddings`, the genome that they were made from, as `open_genome` takes it. The baselines see its
            sequences, and a BED file of labels is checked against it.
        task: `classification` or `regression`.
        head: `logistic` (default), `ridge` (default of regression), `svm` or `mlp`.
        level, pooling, strand: how sequences are embedded; see `embed`.
        folds: outer folds, 2 or more.
        label, id_column, sequence, group: columns of `labels`, if they do not have the usual names.
        seed: decides the folds.
        plot: whether to draw curves.png, which needs matplotlib.
        on_progress: called with a `Progress` as the work goes on.

    Raises:
        UsageError: settings that contradict each other, or that other settings would mend.
        SequenceError: labels, sequences or vectors that cannot be used as they are.

    Example:
        >>> import random
        >>> from pathlib import Path
        >>> import hnet_dna
        >>> dice = random.Random(0)
        >>> rows = [f"{''.join(dice.choices(bases, k=60))},{bases}" for bases in ("AATC", "CCGA") * 10]
        >>> _ = Path("labels.csv").write_text("\n".join(["sequence,label", *rows]))
        >>> result = hnet_dna.probe("labels.csv", "probe", head="ridge", folds=2)
        >>> table = result.to_pandas()
        >>> list(table.columns)
        ['features', 'metric', 'value', 'low', 'high']
        >>> table.features[0]
        'majority class'
    """
    out, kind = Path(out), _task(task)
    if embeddings is not None and model is not None:
        raise UsageError(
            "`model` and `embeddings` exclude each other: `model` embeds the sequences in `labels`, `embeddings` has "
            "the vectors already"
        )
    kind_of_labels, source = recognise(labels)
    by_place = kind_of_labels == "bed"
    if by_place and embeddings is None:
        raise UsageError("labels from a BED need `embeddings`, of chunks or of regions")
    if genome is not None and embeddings is None:
        raise UsageError("`genome` belongs to `embeddings`; without them, `labels` has the sequences")
    if folds < 2:
        raise UsageError(f"`folds`: expected 2 or more, got {folds}")
    refuse_filled(out)
    head = head or ("ridge" if kind == "regression" else "logistic")
    make_head(head, kind, seed)  # a wrong name is refused before anything is computed
    columns = {"label": label, "id_column": id_column, "sequence": sequence, "group": group}

    table = None if embeddings is None else read_table(Path(embeddings))
    rows, codes = _labelled_rows(source, kind, columns, table, genome, by_place, on_progress)
    parts = make_folds(rows, kind, folds, seed)  # what cannot be split is refused before anything is embedded
    if table is not None:
        made_by = (table.metadata[key] for key in ("model", "model_digest", "level", "pooling", "strand"))
        about = About(task, head, *made_by)
        vectors = _Vectors(table.vector if by_place else match(rows, table), about, None)
    else:
        wanted = DEFAULT_MODEL if model is None else model
        vectors = _embedded(rows, codes, wanted, (task, head), (level, pooling, strand), on_progress)
    _log.info("%s", _about_folds(rows, parts))

    kinds = {MODEL: vectors.matrix} | _baselines(rows, codes, vectors, by_place, on_progress)
    with Work(on_progress, "fitting heads", about=f"{len(kinds)} kinds of features") as work:
        results = cross_validate(kinds, rows, parts, kind, head, seed, work.at)
        fitted, chosen = fit_all(vectors.matrix, rows, parts, kind, head, seed)
    if note := _without_choice(_of_model(results).chosen, chosen):
        _log.info("%s", note)
    result = ProbeResult(out, kind, head, rows, parts, tuple(results), vectors.about, chosen)
    _write(result, fitted, seed, plot)
    return result


def _task(task: str) -> Task:
    if task not in get_args(Task):
        raise UsageError(f"`task` {task}: expected classification or regression")
    return cast(Literal["classification", "regression"], task)


def _labelled_rows(
    source: Source,
    task: Task,
    columns: dict[str, str | None],
    table: Table | None,
    genome: GenomeLike | None,
    by_place: bool,
    on_progress: OnProgress,
) -> tuple[Labels, list[Codes] | None]:
    """Return the labels, and the bases of their rows where those are known."""
    opened = None if genome is None else open_with_progress(genome, on_progress)
    if table is not None and by_place:
        if opened is None:
            _log.info("contigs and their lengths are those of the table; `genome` adds those it lacks")
        labels = labels_of_chunks(source, table, opened)
    else:
        labels = read_labels(source, task, **columns)
        taken = ", ".join(f"{what} from {column}" for what, column in labels.columns.items())
        numbered = "" if "ids" in labels.columns else "; ids are row numbers from 0"
        _log.info("columns: %s%s", taken, numbered)
    if task == "classification":
        _log.info("classes: %s", _class_counts(labels))
    codes = [from_text(text) for text in labels.sequences] if labels.sequences else None
    if opened is not None and table is not None and not by_place:
        codes = sequences_of(labels, table, opened)
        if labels.groups is None and len(codes) == len(labels.ids):
            labels = replace(labels, sequences=[to_text(bases) for bases in codes])  # folds by similarity
    return labels, codes


def _embedded(
    labels: Labels,
    codes: list[Codes] | None,
    model: str | Path | HNetLM,
    task_and_head: tuple[str, str],
    settings: tuple[str, str, str],
    on_progress: OnProgress,
) -> _Vectors:
    """Embed the sequences in a file of labels."""
    if codes is None:
        names = ", ".join(labels.columns.values())
        raise SequenceError(
            f"{labels.path}: no column of sequences to embed beside {names}; name it by `sequence`, or give vectors by "
            "`embeddings`"
        )
    loaded, name = open_model(model)
    embedder = Embedder(loaded, *settings)
    with Work(on_progress, "embedding", _bases_to_run(codes, embedder.strand), "bases") as work:
        vectors = embedder.embed(codes, work.add)
    if without := [name for name, vector in zip(labels.ids, vectors, strict=True) if vector is None]:
        raise SequenceError(f"{labels.path}: {len(without)} sequences have no A, C, G or T: {', '.join(without[:5])}")
    matrix = np.stack([vector for vector in vectors if vector is not None])
    return _Vectors(matrix, About(*task_and_head, name, loaded.digest(), *settings), loaded)


def _baselines(
    labels: Labels, codes: list[Codes] | None, vectors: _Vectors, by_place: bool, on_progress: OnProgress
) -> dict[str, NDArray[np.float32]]:
    """Return the features that the model has to beat, as far as the bases of the rows are known."""
    if codes is None:
        reason = (
            "a BED labels rows by their place"
            if by_place
            else f"{labels.path.name} has no column of sequences; `genome` reads those of regions of a genome"
        )
        _log.info("no baselines of GC content, k-mers and an untrained model: %s", reason)
        return {}
    kinds = {"GC content": features.gc_content(codes), "4-mer frequencies": features.kmer_frequencies(codes)}
    if (positions := features.one_hot(codes)) is not None:
        kinds["one-hot"] = positions
    if (untrained := _untrained(vectors)) is not None:
        total = _bases_to_run(codes, vectors.about.strand)
        with Work(on_progress, "embedding by an untrained model", total, "bases") as work:
            kinds["untrained model"] = features.embedded(untrained, codes, work.add)
    return kinds


def _untrained(vectors: _Vectors) -> Embedder | None:
    """Return an untrained model of the shape and settings that made the vectors, or log why there is none."""
    about, width = vectors.about, vectors.matrix.shape[1]
    try:
        if vectors.model is not None:
            config = vectors.model.config
        elif about.model is None:
            raise CheckpointError("the model that made the table was in memory")
        else:
            config = read_config(Path(about.model))
        # Only labels by id have sequences, and their vectors are pooled.
        embedder = features.untrained(config, about.level, about.pooling or "", about.strand)
        if embedder.width != width:
            raise UsageError(f"its vectors have {embedder.width} numbers, those of the table {width}")
    except UsageError as error:
        reason = f"{about.model} holds another model now ({error})"
    except (CheckpointError, ConfigError) as error:
        reason = str(error)
    else:
        load_model(embedder.model)
        return embedder
    _log.info("no baseline of an untrained model: %s", reason)
    return None


def _write(result: ProbeResult, fitted: Pipeline, seed: int, plot: bool) -> None:
    """Write the folder of a probe."""
    labels, folds = result.labels, result.folds
    report = {
        "labels": str(labels.path), "task": result.task, "head": result.head, "rows": len(labels.ids),
        "folds": folds.count, "rule": folds.rule, "copies": folds.copies, "seed": seed, "vectors": vars(result.about),
        "chosen": result.chosen, "results": [each.to_dict() for each in result.results],
    }  # fmt: skip
    predicted = _of_model(result.results).predicted
    with folder_beside(result.out) as folder:
        save_head(folder, fitted, result.about)
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
        with (folder / "predictions.tsv").open("w", encoding="utf-8") as lines:
            lines.write("id\tfold\tlabel\tpredicted\n")
            for row, name in enumerate(labels.ids):
                lines.write(f"{name}\t{folds.fold[row]}\t{labels.target[row]}\t{predicted[row]}\n")
        if plot:
            from hnet_dna.probing.plot import draw

            title = f"{labels.path.name}, {result.head} head"
            draw(folder / "curves.png", result.results, labels.target, result.task, title)


def _of_model(results: tuple[Result, ...] | list[Result]) -> Result:
    return next(result for result in results if result.name == MODEL)


def _class_counts(labels: Labels) -> str:
    """Return the classes with their rows, the largest first, so that a class spelt in two ways is seen."""
    counts = Counter(map(str, labels.target)).most_common()
    shown = ", ".join(f"{name} ({count:,})" for name, count in counts[:_CLASSES_SHOWN])
    return shown + (f" ... ({len(counts):,} in all)" if len(counts) > _CLASSES_SHOWN else "")


def _about_folds(labels: Labels, folds: Folds) -> str:
    """Say how rows were put into folds, and what became of copies."""
    text = f"{len(labels.ids):,} rows; {folds.count} folds {folds.rule}"
    if folds.copies:
        text += f"; {folds.copies:,} row{'' if folds.copies == 1 else 's'} with a copy of an earlier sequence"
        if folds.parted:
            text += f", {folds.parted:,} of them in another fold than the original, since the groups part them"
        else:
            text += ", each in the fold of the original"
    return text


def _bases_to_run(codes: list[Codes], strand: str) -> int:
    """Return how many bases are run to embed sequences."""
    return sum(map(n_known, codes)) * (2 if strand == "both" else 1)


def _without_choice(chosen: list[dict[str, Any]], last: dict[str, Any]) -> str | None:
    """Say which heads have the default strength, since no inner fold could choose one: of the folds, and the saved."""
    short = sum(not strength["inner_folds"] for strength in chosen)
    heads = [f"of {short} of {len(chosen)} folds"] * bool(short) + ["that is saved"] * (not last["inner_folds"])
    if not heads:
        return None
    default = next(strength for strength in [*chosen, last] if not strength["inner_folds"])
    name, value = next(iter(default.items()))
    return (
        f"too few rows or groups to choose the strength of the heads {' and '.join(heads)}: the default, "
        f"{name} = {value:g}, stands"
    )
