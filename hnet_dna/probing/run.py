"""The life of a probe: labels, vectors and folds, cross-validation beside baselines, and the folder of the head."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

from hnet_dna.annotation.regions import is_bed
from hnet_dna.embedding.inputs import recognise
from hnet_dna.embedding.table import Table, read_table
from hnet_dna.errors import UsageError
from hnet_dna.files import folder_beside, refuse_filled
from hnet_dna.genome.open import GenomeLike, open_with_progress
from hnet_dna.model.lm import HNetLM
from hnet_dna.plural import counted
from hnet_dna.pretrained.builtin import DEFAULT_MODEL
from hnet_dna.probing.baselines import baselines
from hnet_dna.probing.by_place import labels_of_chunks, parts_by_place
from hnet_dna.probing.contenders import Contender, FittedEstimator, FittedNetwork
from hnet_dna.probing.cross_validation import MODEL, Result, conclusions, cross_validate, fit_all
from hnet_dna.probing.dataset import (
    Labels,
    Task,
    read_labels,
    sequences_of,
    with_test,
)
from hnet_dna.probing.folds import Folds, make_folds
from hnet_dna.probing.head_file import IN_ORDER, About, Head, save_head
from hnet_dna.probing.heads import check_head
from hnet_dna.probing.sequence_head import SEQUENCE_HEADS
from hnet_dna.probing.vectors import Vectors, of_sequences, of_table, untrained_twin
from hnet_dna.progress import OnProgress, Work, ignore
from hnet_dna.sequence.codes import Codes, from_text, to_text
from hnet_dna.tables import data_frame
from hnet_dna.text import Source

_CLASSES_SHOWN = 12
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProbeResult:
    """What a probe gives.

    Attributes:
        out: the folder that holds the fitted head, the predictions and the report.
        task: `classification`, `multilabel` or `regression`.
        head: name of the head.
        labels: the labelled rows.
        folds: the fold in which each row was held out.
        results: for each kind of features, the majority class (or mean) first, the metrics on these folds.
        about: the vectors that the saved head takes; see `About`.
        chosen: strength of the saved head, and how many `inner_folds` chose it.
        conclusions: whether pretraining helped, and whether the best baseline without the model is beaten, in words.
    """

    out: Path
    task: Task
    head: str
    labels: Labels
    folds: Folds
    results: tuple[Result, ...]
    about: About
    chosen: dict[str, Any]
    conclusions: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The labels, the head and the folds, in words."""
        folds = "split" if self.folds.given else counted(self.folds.count, "fold")
        return f"{self.labels.path.name}: {self.head} head, {folds} {self.folds.rule}"

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
        """Return a DataFrame with a row per label that was held out, predicted while its fold was.

        Its columns are id, fold (from 0), label and predicted.
        """
        rows = self.folds.held_out
        predicted = self.results[1].predicted[rows]  # the first after the majority is the model's
        columns = {
            "fold": self.folds.fold[rows],
            "label": self.labels.text(self.labels.target[rows]) if self.labels.names else self.labels.target[rows],
            "predicted": self.labels.text(predicted) if self.labels.names else predicted,
        }
        return data_frame({"id": [self.labels.ids[row] for row in rows]} | columns)


def probe(
    labels: str | Path,
    out: str | Path,
    *,
    embeddings: str | Path | None = None,
    model: str | Path | HNetLM | None = None,
    genome: GenomeLike | None = None,
    task: str = "classification",
    head: str | None = None,
    level: str | None = None,
    pooling: str | None = None,
    strand: str = "both",
    folds: int = 5,
    test: str | Path | None = None,
    split: str | Path | None = None,
    label: str | None = None,
    id_column: str | None = None,
    sequence: str | None = None,
    group: str | None = None,
    seed: int = 0,
    plot: bool = False,
    on_progress: OnProgress = ignore,
) -> ProbeResult:
    r"""Train a head on frozen vectors, and judge it by nested cross-validation beside baselines on the same folds.

    Folds keep groups together: those of a column of groups or contigs, else families of similar sequences. Where a
    split is given, its test part is held out instead, and the head that is saved is the one that was judged.

    Args:
        labels: CSV or TSV file with a header, or `-` for stdin. A BED file labels each row of `embeddings` by whether
            the middle of its place lies in a region.
        out: folder to create, with the fitted head (head.skops, head.json), predictions.tsv and report.json.
        embeddings: table that `embed_to_table` made, joined to the labels by id. Without it, the sequences in `labels`
            are embedded.
        model: anything that `load_model` takes; the built-in model where there are no `embeddings` either.
        genome: with `embeddings`, the genome that they were made from, as `open_genome` takes it. The baselines see its
            sequences, and a BED file of labels is checked against it.
        task: `classification`, `regression`, or `multilabel` where a row may have several labels: one cell names them
            all, as in `promoter;coding`, or `label` names several columns of 0 and 1, separated by commas.
        head: on one vector of each sequence: `logistic` (default), `ridge` (default of regression), `svm` or `mlp`. On
            the vectors at each base, in their order: `conv` (default of multilabel) or `attention`.
        level, pooling, strand: how sequences are embedded; see `embed`. The default is the mean of `chunk`; `conv` and
            `attention` do not pool, and read `encoder+decoder+letters`.
        folds: outer folds, 2 or more; ignored if a split is given.
        test: file like `labels`, whose rows are held out.
        split: column of `labels` that says train, valid or test; one called split or part is found without being named.
            Or, with `embeddings`, a BED file whose column 4 says so of regions. Valid rows choose settings.
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
    out, kind = Path(out), check_task(task)
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
    head = head or {"regression": "ridge", "multilabel": "conv"}.get(kind, "logistic")
    check_head(head, kind)  # a wrong name is refused before anything is computed
    in_order = head in SEQUENCE_HEADS
    if in_order and embeddings is not None:
        raise UsageError(
            f"`head` {head} reads all vectors of a sequence, and `embeddings` has one for each row; give `labels` with "
            "sequences"
        )
    if in_order and pooling is not None:
        raise UsageError(f"`head` {head} reads all vectors; leave out `pooling`")
    by_bed = split is not None and is_bed(split)
    if by_bed and embeddings is None:
        raise UsageError("`split` by a BED needs `embeddings` of regions or chunks, which have places")
    columns = {"label": label, "id_column": id_column, "sequence": sequence, "group": group}
    columns["split"] = None if split is None or by_bed else str(split)

    table = None if embeddings is None else read_table(Path(embeddings))
    given = (test, split if by_bed else None)
    rows, codes = labelled_rows(source, kind, columns, table, genome, by_place, given, on_progress)
    parts = make_folds(rows, kind, folds, seed)  # what cannot be split is refused before anything is embedded
    about = About(task, head, None, "", level or "", IN_ORDER if in_order else pooling or "mean", strand)
    if table is not None:
        vectors = of_table(rows, table, about, by_place=by_place)
    else:
        vectors = of_sequences(rows, codes, DEFAULT_MODEL if model is None else model, about, on_progress)
    _log.info("%s", about_folds(rows, parts))

    contenders = [vectors.contender, *_others(rows, codes, vectors, kind, by_place, on_progress)]
    with Work(on_progress, "fitting heads", about=f"{len(contenders)} kinds of features") as work:
        results, last = cross_validate(contenders, rows, parts, kind, seed, work.at)
        fitted = last[1] if parts.given else fit_all(vectors.contender, rows, parts, kind, seed)
    if note := _without_choice(_of_model(results).chosen, fitted.chosen):
        _log.info("%s", note)
    said = tuple(conclusions(results, rows, parts, kind))
    result = ProbeResult(out, kind, head, rows, parts, tuple(results), vectors.about, fitted.chosen, said)
    assert isinstance(fitted, FittedEstimator | FittedNetwork)
    to_save: Head = fitted.estimator if isinstance(fitted, FittedEstimator) else fitted.head
    write_folder(result, lambda folder: save_head(folder, to_save, vectors.about), seed, plot=plot)
    return result


def check_task(task: str) -> Task:
    """Return the task, or refuse a name that is none."""
    if task not in get_args(Task):
        raise UsageError(f"`task` {task}: expected classification, multilabel or regression")
    return cast(Task, task)


def labelled_rows(
    source: Source,
    task: Task,
    columns: dict[str, str | None],
    table: Table | None,
    genome: GenomeLike | None,
    by_place: bool,
    given: tuple[str | Path | None, str | Path | None],
    on_progress: OnProgress,
) -> tuple[Labels, list[Codes] | None]:
    """Return the labels, and the bases of their rows where those are known; `given` are a test file and a split BED."""
    test, split_bed = given
    opened = None if genome is None else open_with_progress(genome, on_progress)
    if table is not None and opened is not None and opened.aliases:
        table = replace(table, contig=[opened.find(name) for name in table.contig])
    if table is not None and by_place:
        if opened is None:
            _log.info("contigs and their lengths are those of the table; `genome` adds those it lacks")
        labels = labels_of_chunks(source, table, opened)
    else:
        labels = read_labels(source, task, **columns)
        taken = ", ".join(f"{what} from {column}" for what, column in labels.columns.items())
        numbered = "" if "ids" in labels.columns else "; ids are row numbers from 0"
        _log.info("columns: %s%s", taken, numbered)
        if test is not None:
            labels = with_test(labels, read_labels(recognise(test)[1], task, **columns))
    if split_bed is not None:
        assert table is not None
        labels = parts_by_place(labels, table, split_bed, opened)
    if task != "regression":
        _log.info("classes: %s", _class_counts(labels))
    codes = [from_text(text) for text in labels.sequences] if labels.sequences else None
    if opened is not None and table is not None and not by_place:
        codes = sequences_of(labels, table, opened)
        if labels.groups is None and len(codes) == len(labels.ids):
            labels = replace(labels, sequences=[to_text(bases) for bases in codes])  # folds by similarity
    return labels, codes


def _others(
    labels: Labels,
    codes: list[Codes] | None,
    vectors: Vectors,
    task: Task,
    by_place: bool,
    on_progress: OnProgress,
) -> list[Contender]:
    """Return what the model has to beat, as far as the bases of the rows are known."""
    if codes is None:
        reason = (
            "a BED labels rows by their place"
            if by_place
            else f"{labels.path.name} has no column of sequences; `genome` reads those of regions of a genome"
        )
        _log.info("no baselines on letters, and no untrained model: %s", reason)
        return []
    twin = untrained_twin(vectors, labels, codes, on_progress)
    return [*([] if twin is None else [twin]), *baselines(codes, task)]


def write_folder(
    result: ProbeResult,
    save: Callable[[Path], None],
    seed: int,
    *,
    name: str = MODEL,
    more: dict[str, Any] | None = None,
    plot: bool = False,
) -> None:
    """Write the folder of a probe: what `save` writes into it, report.json with `more`, predictions.tsv, curves.

    The predictions are those of the contender `name`.
    """
    labels, folds = result.labels, result.folds
    report = {
        "labels": str(labels.path), "task": result.task, "head": result.head, "rows": len(labels.ids),
        "folds": folds.count, "rule": folds.rule, "copies": folds.copies, "seed": seed, "vectors": vars(result.about),
        "chosen": result.chosen, "results": [each.to_dict() for each in result.results],
        "conclusions": list(result.conclusions),
    } | (more or {})  # fmt: skip
    judged = next(each for each in result.results if each.name == name)
    with folder_beside(result.out) as folder:
        save(folder)
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
        with (folder / "predictions.tsv").open("w", encoding="utf-8") as lines:
            lines.write("id\tfold\tlabel\tpredicted\n")
            rows = folds.held_out
            texts = (labels.text(labels.target[rows]), labels.text(judged.predicted[rows]))
            for row, own, said in zip(rows.tolist(), *texts, strict=True):
                lines.write(f"{labels.ids[row]}\t{folds.fold[row]}\t{own}\t{said}\n")
        if plot:
            from hnet_dna.probing.plot import draw

            title = f"{labels.path.name}, {result.head} head"
            draw(folder / "curves.png", result.results, labels.target, folds.held_out, result.task, title)


def _of_model(results: tuple[Result, ...] | list[Result]) -> Result:
    return next(result for result in results if result.name == MODEL)


def _class_counts(labels: Labels) -> str:
    """Return the classes with their rows, the largest first, so that a class spelt in two ways is seen."""
    of_labels = zip(labels.names, labels.target.sum(axis=0).tolist(), strict=True) if labels.names else labels.target
    counts = Counter(dict(of_labels) if labels.names else map(str, of_labels)).most_common()
    shown = ", ".join(f"{name} ({count:,})" for name, count in counts[:_CLASSES_SHOWN])
    return shown + (f" ... ({len(counts):,} in all)" if len(counts) > _CLASSES_SHOWN else "")


def about_folds(labels: Labels, folds: Folds) -> str:
    """Say how rows were put into folds, and what became of copies."""
    if folds.given:
        text = f"{counted(len(labels.ids), 'row')}; split {folds.rule}"
        parted = f"; {counted(folds.parted, 'test row')} with a sequence that is trained on"
        return text + parted * (folds.parted > 0)
    text = f"{counted(len(labels.ids), 'row')}; {counted(folds.count, 'fold')} {folds.rule}"
    if folds.copies:
        text += f"; {counted(folds.copies, 'row')} with a copy of an earlier sequence"
        if folds.parted:
            text += f", {folds.parted:,} of them in another fold than the original, since the groups part them"
        else:
            text += ", each in the fold of the original"
    return text


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
