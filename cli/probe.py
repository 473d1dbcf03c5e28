"""`hnet-dna probe` and `hnet-dna predict`: heads on frozen vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hnet_dna.errors import UsageError

from . import options, show
from .outputs import check_outputs, output

if TYPE_CHECKING:
    from hnet_dna.embedding.embedder import Embedder
    from hnet_dna.model.lm import HNetLM
    from hnet_dna.probe.dataset import Task
    from hnet_dna.probe.folds import Folds
    from hnet_dna.probe.head_file import About
    from hnet_dna.probe.run import Result


def probe(
    labels: Annotated[
        Path,
        typer.Argument(metavar="LABELS", help="CSV or TSV with a header; a BED labels the rows of --embeddings."),
    ],
    out: options.NewFolder,
    embeddings: Annotated[
        Path | None, typer.Option(metavar="PARQUET", help="Table made by 'hnet-dna embed', instead of --model.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help=f"Embed the sequences in LABELS with this model. {options.MODEL_HELP}",
            show_default=f"{options.BUILT_IN}, where there are no --embeddings",
        ),
    ] = None,
    genome: Annotated[
        str | None,
        typer.Option(
            metavar="GENOME", help="With --embeddings of its regions: the genome, so that baselines see the sequences."
        ),
    ] = None,
    task: Annotated[str, typer.Option(metavar="TASK", help="classification or regression.")] = "classification",
    head: Annotated[
        str | None,
        typer.Option(metavar="HEAD", help="logistic (default), ridge (default of regression), svm or mlp."),
    ] = None,
    level: options.Level = "chunk",
    pool: options.Pool = "mean",
    strand: options.Strand = "both",
    folds: Annotated[int, typer.Option(metavar="N", help="Outer folds.", min=2)] = 5,
    label: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of labels.")] = None,
    id_column: Annotated[str | None, typer.Option("--id", metavar="COLUMN", help="Column of ids.")] = None,
    sequence: options.SequenceColumn = None,
    group: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of groups that folds keep together.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Decides folds.", min=0)] = 0,
    plot: Annotated[bool, typer.Option("--plot", help="Draw curves or a scatter (needs matplotlib).")] = False,
) -> None:
    """Train a head on frozen vectors and judge it by nested cross-validation, beside baselines on the same folds.

    Folds keep groups together: those of --group or of a column such as contig, else sequences that share half of their
    k-mers. The folder gets the fitted head, predictions with folds, and the report.

    Example: hnet-dna probe labels.csv --model run --out probe
    """
    if task not in ("classification", "regression"):
        raise UsageError(f"--task {task}: expected classification or regression")
    kind: Task = "classification" if task == "classification" else "regression"
    if embeddings is not None and model is not None:
        raise UsageError(
            "--model and --embeddings exclude each other: --model embeds the sequences in LABELS, --embeddings has the "
            "vectors already"
        )
    by_place = labels.suffix == ".bed"
    if by_place and embeddings is None:
        raise UsageError("labels from a BED need --embeddings, made with --per-chunk or --regions")
    if genome is not None and (embeddings is None or by_place):
        why = "a BED labels rows by their place" if by_place else "without them, LABELS has the sequences"
        raise UsageError(f"--genome belongs to --embeddings with a CSV or TSV of labels by id; {why}")
    if out.exists():
        raise UsageError(f"--out {out} exists already; choose another folder")
    from dataclasses import replace

    import numpy as np

    from hnet_dna.data.fetch import open_genome
    from hnet_dna.embedding.embedder import Embedder
    from hnet_dna.embedding.table import read_table
    from hnet_dna.errors import SequenceError
    from hnet_dna.files import write_beside
    from hnet_dna.probe import features as baselines
    from hnet_dna.probe.dataset import labels_of_chunks, match, read_labels, sequences_of
    from hnet_dna.probe.folds import make_folds
    from hnet_dna.probe.head_file import About, save_head
    from hnet_dna.probe.heads import make_head
    from hnet_dna.probe.run import MODEL, cross_validate, fit_all
    from hnet_dna.sequence.codes import to_text

    head = head or ("ridge" if kind == "regression" else "logistic")
    make_head(head, kind, seed)  # a wrong name is said before anything is computed
    columns = {"label": label, "id_column": id_column, "sequence": sequence, "group": group}
    table = read_table(embeddings) if embeddings else None
    if table is not None and by_place:
        found = labels_of_chunks(labels, table)
    else:
        found = read_labels(labels, kind, **columns)
        taken = ", ".join(f"{what} from {column}" for what, column in found.columns.items())
        numbered = "" if "ids" in found.columns else "; ids are row numbers from 0"
        show.notes.print(f"columns: {taken}{numbered}")
    loaded: HNetLM | None = None
    codes = baselines.encode_all(found.sequences) if found.sequences else None
    if genome is not None and table is not None:
        codes = sequences_of(found, table, open_genome(genome))
        if found.groups is None and len(codes) == len(found.ids):
            found = replace(found, sequences=[to_text(bases) for bases in codes])  # folds by similarity
    parts = make_folds(found, kind, folds, seed)  # what cannot be split is said before anything is embedded
    if table is not None:
        matrix = table.vector if by_place else match(found, table)
        told = table.metadata
        about = About(task, head, told["model"], told["model_digest"], told["level"], told["pooling"], told["strand"])
    else:
        if codes is None:
            names = ", ".join(found.columns.values())
            raise SequenceError(
                f"{labels}: no column of sequences to embed beside {names}; name it by --sequence COLUMN, or give the "
                "vectors by --embeddings"
            )
        model = model or options.BUILT_IN
        loaded = show.load_model(model)
        embedder = Embedder(loaded, level, pool, strand)  # type: ignore[arg-type]
        vectors = embedder.embed(codes)
        bad = [name for name, vector in zip(found.ids, vectors, strict=True) if vector is None]
        if bad:
            raise SequenceError(f"{labels}: {len(bad)} sequences have no A, C, G or T: {', '.join(bad[:5])}")
        matrix = np.stack([vector for vector in vectors if vector is not None])
        about = About(task, head, show.model_name(model), loaded.digest(), level, pool, strand)
    show.notes.print(_folds_text(parts), markup=False)
    kinds = {MODEL: matrix}
    if codes is not None:
        kinds["GC content"] = baselines.gc_content(codes)
        kinds["4-mer frequencies"] = baselines.kmer_frequencies(codes)
        if (positions := baselines.one_hot(codes)) is not None:
            kinds["one-hot"] = positions
    else:
        reason = (
            "a BED labels rows by their place"
            if by_place
            else f"{labels.name} has no column of sequences; --genome GENOME reads those of regions of a genome"
        )
        show.notes.print(f"no rows of GC content, k-mers and an untrained model: {reason}")
    with show.bar() as bar:
        step = bar.add_task("embedding by an untrained model", total=None)
        if codes is not None and (fresh := _untrained(about, loaded, matrix.shape[1])) is not None:
            kinds["untrained model"] = baselines.embedded(fresh, codes)
        results = cross_validate(kinds, found, parts, kind, head, seed, lambda what: bar.update(step, description=what))
        fitted, strength = fit_all(matrix, found, parts, kind, head, seed)
    by_model = next(result for result in results if result.name == MODEL)
    if line := _undecided(by_model.chosen, strength):
        show.notes.print(line)
    out.mkdir(parents=True)
    save_head(out, fitted, about)
    report = {
        "labels": str(labels), "task": task, "head": head, "rows": len(found.ids), "folds": folds, "rule": parts.rule,
        "copies": parts.copies, "seed": seed, "vectors": vars(about), "chosen": strength,
        "results": [r.to_dict() for r in results],
    }  # fmt: skip
    with write_beside(out / "report.json") as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n")
    with write_beside(out / "predictions.tsv") as temporary, temporary.open("w") as lines:
        lines.write("id\tfold\tlabel\tpredicted\n")
        for row, name in enumerate(found.ids):
            lines.write(f"{name}\t{parts.fold[row]}\t{found.target[row]}\t{by_model.predicted[row]}\n")
    if plot:
        from hnet_dna.probe.plot import draw

        draw(out / "curves.png", results, found.target, kind, f"{labels.name}, {head} head")
    show.results.print(_table(results, f"{labels.name}: {head} head, {folds} folds {parts.rule}"))
    show.results.print(f"Head and report: {out}", soft_wrap=True)
    if about.pooling is not None:  # predict has one vector for each sequence, none for a chunk
        show.results.print(f"Next:  hnet-dna predict NEW.fa --head {out}", soft_wrap=True)


def predict(
    sequences: Annotated[
        str, typer.Argument(metavar="SEQUENCES", help="FASTA, CSV or TSV with a column of sequences, or '-'.")
    ],
    head: Annotated[Path, typer.Option(metavar="PATH", help="Folder made by 'hnet-dna probe'.")],
    model: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="The model whose vectors the head takes. Default: where it was."),
    ] = None,
    sequence: options.SequenceColumn = None,
    out: options.OutFile = None,
) -> None:
    """Apply a head to new sequences: a table of ids and predictions, with class scores where the head has them.

    Example: hnet-dna predict new.fa --head probe
    """
    check_outputs({"--out": out}, [sequences, head, model])
    from hnet_dna.embedding.embedder import Embedder
    from hnet_dna.embedding.inputs import read_sequences
    from hnet_dna.model.lm import HNetLM
    from hnet_dna.probe.head_file import load_head

    fitted, about = load_head(head)
    if about.pooling is None:
        raise UsageError(
            f"{head} takes vectors of single chunks, and predict makes one vector of each sequence; apply it in Python "
            "(docs/embeddings.md), or fit a head on a table made without --per-chunk"
        )
    model = model or Path(about.model)
    loaded = show.on_device(HNetLM.from_pretrained(model))
    if loaded.digest() != about.model_digest:
        raise UsageError(f"{model} is not the model that the head in {head} takes (digests differ)")
    embedder = Embedder(loaded, about.level, about.pooling, about.strand)  # type: ignore[arg-type]
    scored = hasattr(fitted, "predict_proba")
    with output(out) as stream:
        classes = "".join(f"\tp_{name}" for name in fitted.classes_) if scored else ""
        header = f"id\tpredicted{classes}\n"  # with the first line, so that a file that cannot be read leaves nothing
        left_out = 0
        for item in read_sequences(sequences, column=sequence):
            (vector,) = embedder.embed([item.codes])
            if vector is None:
                left_out += 1
                continue
            probs = "".join(f"\t{p:.6f}" for p in fitted.predict_proba(vector[None])[0]) if scored else ""
            stream.write(f"{header}{item.id}\t{fitted.predict(vector[None])[0]}{probs}\n")
            header = ""
        stream.write(header)
    if left_out:
        show.notes.print(f"{left_out:,} sequences have no A, C, G or T and were left out")


def _folds_text(parts: Folds) -> str:
    """Say how rows were split, and what may be wrong with it."""
    rows, count = len(parts.fold), len(parts.sizes)
    text = f"{rows:,} rows; {count} folds {parts.rule}"
    if parts.copies:
        text += f"; {parts.copies:,} {'sequence is a copy' if parts.copies == 1 else 'sequences are copies'} of another"
        text += f"; {parts.parted:,} rows have a copy in another fold" if parts.parted else ", kept in one fold"
    if parts.largest * count > rows:
        text += (
            f"; the largest group has {parts.largest:,} rows ({parts.largest / rows:.0%}) and cannot be split, so that "
            f"folds have {min(parts.sizes):,} to {max(parts.sizes):,} rows"
        )
    return text


def _undecided(chosen: list[dict[str, Any]], last: dict[str, Any]) -> str | None:
    """Tell which heads have a strength that no inner fold chose: those of the folds, and the last one on all rows."""
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


def _untrained(about: About, loaded: HNetLM | None, width: int) -> Embedder | None:
    """Return an untrained model of the shape and settings that made the vectors, or say why there is none."""
    from hnet_dna.errors import CheckpointError, ConfigError
    from hnet_dna.model.lm import read_config
    from hnet_dna.probe.features import untrained

    try:
        config = loaded.config if loaded is not None else read_config(Path(about.model))
        # Only labels by id have sequences, and their vectors are pooled.
        embedder = untrained(config, about.level, about.pooling, about.strand)  # type: ignore[arg-type]
        if embedder.width != width:
            raise UsageError(f"its vectors have {embedder.width} numbers, those of the table {width}")
    except UsageError as error:
        reason = f"{about.model} holds another model now ({error})"
    except (CheckpointError, ConfigError) as error:
        reason = str(error)
    else:
        show.on_device(embedder.model)
        return embedder
    show.notes.print(f"no row of an untrained model: {reason}")
    return None


def _table(results: list[Result], title: str) -> Table:
    table = Table(title=title)
    table.add_column("features")
    names = list(results[-1].metrics)
    for name in names:
        table.add_column(name, justify="right")
    for result in results:
        cells: list[Any] = []
        for name in names:
            metric = result.metrics.get(name)
            cells.append("-" if metric is None else f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]")
        table.add_row(result.name, *cells)
    return table
