"""`hnet-dna probe` and `hnet-dna predict`: heads on frozen vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from . import options, show
from .inputs import check_pipes
from .outputs import check_outputs, output, shares_terminal

if TYPE_CHECKING:
    from hnet_dna.probing.run import ProbeResult


def probe(
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS",
            help="CSV or TSV with a header, '-' for stdin; or a BED, which labels the rows of --embeddings by place.",
        ),
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
            show_default=f"{options.BUILT_IN}, unless --embeddings is given",
        ),
    ] = None,
    genome: Annotated[
        str | None,
        typer.Option(
            metavar="GENOME",
            help="With --embeddings: their genome, for baselines and to check a BED against it.",
        ),
    ] = None,
    task: Annotated[str, typer.Option(metavar="TASK", help="classification or regression.")] = "classification",
    head: Annotated[
        str | None,
        typer.Option(metavar="HEAD", help="logistic (default), ridge (default of regression), svm or mlp."),
    ] = None,
    level: options.Level = "chunk",
    pooling: options.Pooling = "mean",
    strand: options.Strand = "both",
    folds: Annotated[int, typer.Option(metavar="N", help="Outer folds.", min=2)] = 5,
    label: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of labels.")] = None,
    id_column: Annotated[str | None, typer.Option("--id", metavar="COLUMN", help="Column of ids.")] = None,
    sequence: options.SequenceColumn = None,
    group: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of groups that folds keep together.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the folds.", min=0)] = 0,
    plot: Annotated[bool, typer.Option("--plot", help="Draw curves or a scatter (needs matplotlib).")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a head on frozen vectors and judge it by nested cross-validation, beside baselines on the same folds.

    Folds keep groups together: those of --group or of a column such as contig, or else families of
    similar sequences. The folder gets the fitted head, predictions with folds, and the report.

    Example: hnet-dna probe labels.csv --model run --out probe
    """
    from hnet_dna.probing.run import probe as run_probe

    check_pipes({"LABELS": labels, "--embeddings": embeddings, "--genome": genome})
    with show.Reports(quiet=quiet) as progress:
        result = run_probe(
            labels, out, embeddings=embeddings, model=model, genome=genome, task=task, head=head, level=level,
            pooling=pooling, strand=strand, folds=folds, label=label, id_column=id_column, sequence=sequence,
            group=group, seed=seed, plot=plot, on_progress=progress,
        )  # fmt: skip
    show.results.print(_table(result))
    show.results.print(f"Head and report: {out}", soft_wrap=True)
    if result.about.pooling is not None:  # predict has one vector for each sequence, none for a chunk
        show.results.print(f"Next:  hnet-dna predict NEW.fa --head {out}", soft_wrap=True)


def predict(
    sequences: Annotated[
        str, typer.Argument(metavar="SEQUENCES", help="FASTA, or CSV or TSV with a column of sequences; '-' for stdin.")
    ],
    head: Annotated[Path, typer.Option(metavar="PATH", help="Folder made by 'hnet-dna probe'.")],
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL", help="The model that the head was trained on. Default: from where probe read it."
        ),
    ] = None,
    sequence: options.SequenceColumn = None,
    out: options.OutFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Apply a head to new sequences: a table of ids and predictions, with class scores if the head has them.

    Example: hnet-dna predict new.fa --head probe
    """
    from hnet_dna.probing.prediction import predict as run_predict

    check_outputs({"--out": out}, [sequences, head, model])
    with show.Reports(quiet=quiet, on_data=shares_terminal(out)) as progress:
        predictions = run_predict(sequences, head, model=model, sequence=sequence, on_progress=progress)
        header = "".join(["id\tpredicted", *(f"\tp_{name}" for name in predictions.classes), "\n"])
        with output(out) as stream:
            for row in predictions:
                scores = "".join(f"\t{score:.6f}" for score in row.scores)
                stream.write(f"{header}{row.id}\t{row.predicted}{scores}\n")
                header = ""  # written with the first line, so that a file that cannot be read leaves nothing
            stream.write(header)


def _table(result: ProbeResult) -> Table:
    names = list(result.results[-1].metrics)
    table = Table("features", title=result.title)
    for name in names:
        table.add_column(name, justify="right")
    for row in result.results:
        metrics = [row.metrics.get(name) for name in names]
        table.add_row(row.name, *("-" if m is None else f"{m.value:.3f} [{m.low:.3f}, {m.high:.3f}]" for m in metrics))
    return table
